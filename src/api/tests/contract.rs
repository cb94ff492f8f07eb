//! What others build on: the .proto files and `docs/api.md`. Style, so that generated code reads well in
//! every language; every field commented; what was published never changes its meaning; every reason an
//! error can have is documented.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jit_ssh_api::{Reason, status_of, v1};
use jit_ssh_core::refusal::Refusal;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};

fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(v1::DESCRIPTORS).unwrap();
    let ours: Vec<_> = set.file.into_iter().filter(|file| file.package() == "jitssh.v1").collect();
    assert!(ours.len() >= 5, "the descriptors are not all there");
    ours
}

fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Everything of a file that has a name, with its place in the descriptor (descriptor.proto, `Location`).
fn named(file: &FileDescriptorProto) -> Vec<(Vec<i32>, String)> {
    let mut all = Vec::new();
    let at = |path: &[i32], more: [i32; 2]| [path, &more].concat();
    let index = |n: usize| i32::try_from(n).unwrap();
    for (n, message) in file.message_type.iter().enumerate() {
        let path = vec![4, index(n)];
        for (n, field) in message.field.iter().enumerate() {
            let name = format!("{}.{}", message.name(), field.name());
            all.push((at(&path, [2, index(n)]), name));
        }
        all.push((path, message.name().to_owned()));
    }
    for (n, kind) in file.enum_type.iter().enumerate() {
        let path = vec![5, index(n)];
        for (n, value) in kind.value.iter().enumerate() {
            all.push((at(&path, [2, index(n)]), format!("{}.{}", kind.name(), value.name())));
        }
        all.push((path, kind.name().to_owned()));
    }
    for (n, service) in file.service.iter().enumerate() {
        let path = vec![6, index(n)];
        for (n, call) in service.method.iter().enumerate() {
            all.push((at(&path, [2, index(n)]), format!("{}.{}", service.name(), call.name())));
        }
        all.push((path, service.name().to_owned()));
    }
    all
}

#[test]
fn every_service_call_message_field_and_value_is_commented() {
    for file in files() {
        let locations = &file.source_code_info.as_ref().unwrap().location;
        let commented: BTreeMap<&[i32], &str> = locations
            .iter()
            .map(|location| (location.path.as_slice(), location.leading_comments().trim()))
            .collect();
        for (path, name) in named(&file) {
            let comment = commented.get(path.as_slice()).copied().unwrap_or_default();
            assert!(comment.ends_with(['.', ':']), "{}: {name}: {comment:?}", file.name());
        }
    }
}

#[test]
fn names_are_as_generators_of_all_languages_want_them() {
    let pascal = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let snake = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
            && !name.contains("__")
            && !name.ends_with('_')
    };
    let mut requests = BTreeSet::new();
    for file in files() {
        assert_eq!(Path::new(file.name()).parent(), Some(Path::new("jitssh/v1")));
        assert_eq!(file.syntax(), "proto3");
        for message in &file.message_type {
            assert!(pascal(message.name()), "{}", message.name());
            assert!(message.nested_type.is_empty(), "{} has one inside", message.name());
            for field in &message.field {
                assert!(snake(field.name()), "{}.{}", message.name(), field.name());
            }
        }
        for kind in &file.enum_type {
            assert!(pascal(kind.name()), "{}", kind.name());
            let prefix = shouted(kind.name());
            for value in &kind.value {
                assert!(value.name().starts_with(&format!("{prefix}_")), "{}", value.name());
            }
            let zero = format!("{prefix}_UNSPECIFIED");
            assert_eq!((kind.value[0].number(), kind.value[0].name()), (0, zero.as_str()));
        }
        for call in file.service.iter().flat_map(|service| &service.method) {
            assert!(pascal(call.name()), "{}", call.name());
            // One message for each call and direction, so that either can grow.
            for (kind, suffix) in [(call.input_type(), "Request"), (call.output_type(), "Response")]
            {
                assert!(kind.ends_with(suffix), "{}: {kind}", call.name());
                assert!(requests.insert(kind.to_owned()), "{kind} is of two calls");
            }
        }
    }
}

/// `BundlePart` as `BUNDLE_PART`.
fn shouted(name: &str) -> String {
    let mut all = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !all.is_empty() {
            all.push('_');
        }
        all.push(c.to_ascii_uppercase());
    }
    all
}

/// Each field, value and call on a line, with all that decides what it means on the wire.
fn wire() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in files() {
        file.message_type.iter().for_each(|message| fields(message, &mut lines));
        file.enum_type.iter().for_each(|kind| values(kind, &mut lines));
        file.service.iter().for_each(|service| calls(service, &mut lines));
    }
    lines
}

fn fields(message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    for field in &message.field {
        let kind = match field.r#type() {
            Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
            scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        };
        let many = if field.label() == Label::Repeated { "repeated " } else { "" };
        let (name, number) = (field.name(), field.number());
        lines.insert(format!("{} {name} = {number} {many}{kind}", message.name()));
    }
}

fn values(kind: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &kind.value {
        lines.insert(format!("{} {} = {}", kind.name(), value.name(), value.number()));
    }
}

fn calls(service: &ServiceDescriptorProto, lines: &mut BTreeSet<String>) {
    for call in &service.method {
        let stream = if call.server_streaming() { " stream" } else { "" };
        lines.insert(format!("{}/{}{stream}", service.name(), call.name()));
    }
}

/// `proto/jitssh/v1/published.txt` grows with the API; a line of it that is not true any more breaks who
/// builds on us.
#[test]
fn what_was_published_means_the_same_for_ever() {
    let text = repository("proto/jitssh/v1/published.txt");
    let published: BTreeSet<String> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(str::to_owned)
        .collect();
    let wire = wire();
    let broken: Vec<&String> = published.difference(&wire).collect();
    assert!(broken.is_empty(), "no longer so, and others count on it: {broken:#?}");
    let new: Vec<&str> = wire.difference(&published).map(String::as_str).collect();
    assert!(new.is_empty(), "add to published.txt, in order:\n{}", new.join("\n"));
}

/// The rows of the table in `docs/api.md` that begin with a reason: reason, gRPC code, cause, remedy.
fn documented() -> BTreeMap<String, Vec<String>> {
    let text = repository("docs/api.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| {
        let (reason, rest) = row.split_once("` | ")?;
        let shouts = reason.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let cells = rest.trim_end_matches(" |").split(" | ").map(str::to_owned).collect();
        shouts.then(|| (reason.to_owned(), cells))
    })
    .collect()
}

#[test]
fn every_reason_is_documented_with_its_code_cause_and_remedy() {
    let documented = documented();
    for reason in Reason::ALL {
        let row = documented.get(reason.as_str());
        let row = row.unwrap_or_else(|| panic!("docs/api.md says nothing of {reason}"));
        let code = status_of(&Refusal::new(*reason, "no.")).code();
        assert_eq!(row[0], format!("`{}`", shouted(&format!("{code:?}"))), "{reason}");
        assert_eq!(row.len(), 3, "{reason}: code, cause and remedy");
        assert!(row.iter().all(|cell| !cell.trim().is_empty()), "{reason}");
    }
    let known: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let stale: Vec<&String> =
        documented.keys().filter(|reason| !known.contains(reason.as_str())).collect();
    assert!(stale.is_empty(), "docs/api.md tells of what is not: {stale:?}");
}
