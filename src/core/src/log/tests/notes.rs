//! Keys, notes and checkpoints: what is read, and each neighbour that is not.

use ed25519_dalek::{Signer as _, SigningKey};

use super::super::*;

fn signer(seed: u8, name: &str) -> (SigningKey, VerifierKey) {
    let signing = SigningKey::from_bytes(&[seed; 32]);
    let key = VerifierKey::new(name, signing.verifying_key().as_bytes()).unwrap();
    (signing, key)
}

fn signed(text: &str, signing: &SigningKey, key: &VerifierKey) -> Note {
    Note::assemble(text, key, signing.sign(text.as_bytes()).to_bytes()).unwrap()
}

#[test]
fn a_verifier_key_reads_as_it_is_written() {
    let (_, key) = signer(1, "ca.example/log");
    let text = key.to_string();
    assert_eq!(text.parse(), Ok(key.clone()));
    assert_eq!(
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
            .parse::<VerifierKey>()
            .unwrap()
            .to_string(),
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    );

    let (name, rest) = text.split_once('+').unwrap();
    let (hash, base64) = rest.split_once('+').unwrap();
    let refused = |text: String| text.parse::<VerifierKey>().unwrap_err();
    assert_eq!(refused(format!("other+{hash}+{base64}")), NoteError::KeyHash);
    assert_eq!(refused(format!("{name}+{}+{base64}", hash.to_uppercase())), NoteError::KeyHash);
    assert_eq!(refused(format!("{name}+0{hash}+{base64}")), NoteError::KeyHash);
    assert_eq!(refused(format!("+{hash}+{base64}")), NoteError::KeyName);
    assert_eq!(refused(format!("a b+{hash}+{base64}")), NoteError::KeyName);
    assert_eq!(refused(format!("{name}+{hash}")), NoteError::KeyFormat);
    assert_eq!(refused(format!("{name}+{hash}+")), NoteError::KeyFormat);
    assert_eq!(refused(format!("{name}+{hash}+{base64}\n")), NoteError::KeyFormat);
    assert_eq!(refused(format!("{name}+{hash}+{}", &base64[..40])), NoteError::KeyFormat);
    assert_eq!(refused(format!("{name}+{hash}+B{}", &base64[1..])), NoteError::KeyType);
    // The neutral element: anyone can sign for it.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert_eq!(VerifierKey::new("a", &neutral), Err(NoteError::KeyValue));
    assert_eq!(VerifierKey::new("a+b", key.public()), Err(NoteError::KeyName));
}

#[test]
fn a_note_verifies_for_its_key_and_for_no_other() {
    let (signing, key) = signer(1, "a");
    let note = signed("one\n\ntwo\n", &signing, &key);
    let read = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(read, note);
    assert_eq!(read.text(), "one\n\ntwo\n");
    assert_eq!(read.signed_by(&key), Ok(()));
    assert_eq!(read.signed_by(&signer(2, "a").1), Err(NoteError::NotSigned("a".into())));
    assert_eq!(read.signed_by(&signer(1, "b").1), Err(NoteError::NotSigned("b".into())));
    let forged = Note::assemble("one\n", &key, signing.sign(b"two\n").to_bytes()).unwrap();
    assert_eq!(forged.signed_by(&key), Err(NoteError::BadSignature("a".into())));
}

#[test]
fn signatures_of_unknown_keys_are_ignored_and_a_second_bad_one_of_ours_is_not() {
    let (signing, key) = signer(1, "a");
    let (witness, witness_key) = signer(2, "witness");
    let ours = signed("text\n", &signing, &key).to_string();
    let lines = |note: &str| note.rsplit_once("\n\n").unwrap().1.to_owned();
    let cosigned =
        format!("{ours}{}", lines(&signed("text\n", &witness, &witness_key).to_string()));
    let cosigned = Note::parse(cosigned.as_bytes()).unwrap();
    assert_eq!((cosigned.signed_by(&key), cosigned.signed_by(&witness_key)), (Ok(()), Ok(())));
    let twice = format!("{ours}{}", lines(&signed("other\n", &signing, &key).to_string()));
    let twice = Note::parse(twice.as_bytes()).unwrap();
    assert_eq!(twice.signed_by(&key), Err(NoteError::BadSignature("a".into())));
}

#[test]
fn what_is_not_exactly_a_note_is_refused() {
    let (signing, key) = signer(1, "a");
    let good = signed("text\n", &signing, &key).to_string();
    assert!(Note::parse(good.as_bytes()).is_ok());
    let line = good.rsplit_once("\n\n").unwrap().1;
    let bad = [
        String::new(),
        "text\n".into(),
        "text\n\n".into(),
        format!("\n{line}"),
        format!("\n\n{line}"),
        format!("text\n{line}"),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        good.replace("text", "te\rxt"),
        good.replace("text", "te\0xt"),
        good.replace('\u{2014}', "-"),
        good.replace("\u{2014} a ", "\u{2014} a+b "),
        good.replace("\u{2014} a ", "\u{2014}  "),
        good.replace("\u{2014} a ", "\u{2014} "),
        good.replace("=\n", "\n"),
        format!("text\n\n{}", line.repeat(65)),
        "text\n\n\u{2014} a AAAAAA==\n".to_owned(),
    ];
    for bad in bad {
        assert!(Note::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert!(Note::parse(format!("text\n\n{}", line.repeat(64)).as_bytes()).is_ok());
    let mut bytes = good.into_bytes();
    bytes[0] = 0xff;
    assert!(Note::parse(&bytes).is_err());
    assert!(Note::assemble("no newline", &key, [0; 64]).is_err());
}

#[test]
fn a_checkpoint_is_three_strict_lines() {
    let root = EMPTY_ROOT.to_string();
    let good = format!("ca.example/log\n0\n{root}\n");
    assert_eq!(good.parse::<Checkpoint>().unwrap().to_string(), good);
    for bad in [
        format!("ca.example/log\n0\n{root}"),
        format!("ca.example/log\n0\n{root}\nextension\n"),
        format!("ca.example/log\n0\n{root}\n\n"),
        format!("ca.example/log\n00\n{root}\n"),
        format!("ca.example/log\n+1\n{root}\n"),
        format!("ca.example/log\n-1\n{root}\n"),
        format!("ca.example/log\n\n{root}\n"),
        format!("ca.example/log\n18446744073709551616\n{root}\n"),
        format!("\n0\n{root}\n"),
        format!("ca example\n0\n{root}\n"),
        format!("ca.example/log\n0\n{}\n", &root[..40]),
        format!("ca.example/log\n0\n{}\n", root.trim_end_matches('=')),
        "ca.example/log\n0\n".to_owned(),
    ] {
        assert!(bad.parse::<Checkpoint>().is_err(), "{bad:?}");
    }
    assert!(
        format!("ca.example/log\n18446744073709551615\n{root}\n").parse::<Checkpoint>().is_ok()
    );
}

#[test]
fn a_signed_checkpoint_is_believed_only_under_its_own_log_and_key() {
    let (signing, key) = signer(1, "ca.example/log");
    let checkpoint = Checkpoint::new(key.name(), 5, leaf_hash(b"")).unwrap();
    let ours =
        SignedCheckpoint::sign(checkpoint.clone(), &key, |t| signing.sign(t).to_bytes()).unwrap();
    assert_eq!(SignedCheckpoint::open(ours.note().as_bytes(), &key), Ok(ours.clone()));
    assert_eq!(ours.checkpoint(), &checkpoint);

    let other = signer(2, "ca.example/log").1;
    let refused = SignedCheckpoint::open(ours.note().as_bytes(), &other);
    assert_eq!(refused, Err(NoteError::NotSigned("ca.example/log".into())));

    // Signed with our key, but it speaks of another log.
    let text = Checkpoint::new("other.example/log", 5, EMPTY_ROOT).unwrap().to_string();
    let note = signed(&text, &signing, &key).to_string();
    assert!(matches!(SignedCheckpoint::open(note.as_bytes(), &key), Err(NoteError::Origin { .. })));
    let foreign: Checkpoint = text.parse().unwrap();
    assert!(SignedCheckpoint::sign(foreign, &key, |t| signing.sign(t).to_bytes()).is_err());

    // A good note that is no checkpoint.
    let note = signed("ca.example/log\n5\n", &signing, &key).to_string();
    assert!(matches!(SignedCheckpoint::open(note.as_bytes(), &key), Err(NoteError::Checkpoint(_))));
}
