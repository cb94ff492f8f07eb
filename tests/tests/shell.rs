//! What the shell sees of the three programs: completion in the real bash, zsh and fish, and man pages
//! that man, groff and mandoc find nothing wrong with.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use jit_ssh_tests::program::binaries;
use jit_ssh_tests::{POLICY, Persona, Program, Site};

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// What a shell offers at the end of `line`, by its own completion.
fn offered(persona: &Persona, shell: &str, program: &str, line: &str) -> Vec<String> {
    let path = format!("{}:{}", binaries().display(), std::env::var("PATH").unwrap());
    let words = line.split(' ').count();
    let script = match shell {
        // The words as readline splits them, and the function that `complete` names.
        "bash" => format!(
            "source <({program} completions bash)\n\
             COMP_WORDS=({line}); [[ '{line}' == *' ' ]] && COMP_WORDS+=('')\n\
             COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))\n\
             spec=$(complete -p {program}); function=${{spec#*-F }}\n\
             ${{function%% *}} {program}\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        ),
        // In place of the line editor: what `_describe` would show.
        "zsh" => format!(
            "compdef() {{ : }}\n\
             _describe() {{ local -a all; all=(\"${{(@P)3}}\"); print -l -- \"${{(@)all%%:*}}\" }}\n\
             _files() {{ print -l -- *(N) }}\n\
             source <({program} completions zsh)\n\
             words=(\"${{(@s: :):-{line}}}\"); CURRENT={words}\n\
             _{}",
            program.replace('-', "_")
        ),
        "fish" => format!(
            "{program} completions fish | source\ncomplete -C '{line}' | string split -f1 \\t"
        ),
        other => panic!("{other}"),
    };
    let flags: &[&str] = if shell == "zsh" { &["-f", "-c"] } else { &["-c"] };
    let run =
        persona.program(shell).env("PATH", &path).env("HOME", &persona.home).dir(&persona.home);
    let said = run.args(flags).args([script.as_str()]).run();
    assert_eq!(said.err, "", "{shell} {line}");
    let mut lines: Vec<String> =
        said.out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn each_shell_completes_commands_hosts_logins_requests_and_files() {
    let (mut site, alice, bob) = Site::running(POLICY);
    let first = alice.ask(&[]);
    bob.jit(&["requests", "--to-decide"]).run().fine();
    for shell in SHELLS {
        let at = |line: &str| offered(&alice, shell, "jit-ssh", line);
        assert_eq!(at("jit-ssh log"), ["login", "logout"], "{shell}");
        assert_eq!(at("jit-ssh login "), ["other-host", "prod-host", "test-host"], "{shell}");
        assert_eq!(at("jit-ssh login prod-host --as "), [jit_ssh_tests::me()], "{shell}");
        assert_eq!(at("jit-ssh login --dry"), ["--dry-run"], "{shell}");
        assert_eq!(at("jit-ssh cancel "), [first.as_str()], "{shell}");
        assert_eq!(at("jit-ssh approve "), Vec::<String>::new(), "{shell}");
        assert_eq!(at("jit-ssh --ca "), ["default"], "{shell}");
        assert_eq!(at("jit-ssh completions "), ["bash", "fish", "zsh"], "{shell}");
        assert!(at("jit-ssh login --key i").iter().any(|name| name == "id.pub"), "{shell}");
        let theirs = offered(&bob, shell, "jit-ssh", "jit-ssh approve ");
        assert_eq!(theirs, [first.as_str()], "{shell}");
        assert_eq!(
            offered(&alice, shell, "jit-ssh-ca", "jit-ssh-ca policy te"),
            ["test"],
            "{shell}"
        );
        assert_eq!(
            offered(&alice, shell, "jit-ssh-host", "jit-ssh-host doc"),
            ["doctor"],
            "{shell}"
        );
    }
    // Without the CA, it is what was last heard; who is nobody hears nothing, and no word of why.
    site.kill();
    assert_eq!(offered(&bob, "bash", "jit-ssh", "jit-ssh approve "), [first.as_str()]);
    let nobody = Persona::new(site.path(), "carl");
    assert_eq!(offered(&nobody, "bash", "jit-ssh", "jit-ssh login "), Vec::<String>::new());
    let broken = alice.home.join("config/enrolment.json");
    std::fs::write(&broken, "{").unwrap();
    offered(&alice, "bash", "jit-ssh", "jit-ssh show ");
}

#[test]
fn the_three_shells_find_no_fault_in_the_scripts() {
    let dir = tempfile::tempdir().unwrap();
    for program in ["jit-ssh", "jit-ssh-ca", "jit-ssh-host"] {
        for shell in SHELLS {
            let script = Program::new(program).args(["completions", shell]).run().fine().out;
            let file = dir.path().join(shell);
            std::fs::write(&file, script).unwrap();
            Program::new(shell).args(["-n"]).args([&file]).run().fine();
        }
    }
}

#[test]
fn man_pages_are_there_for_every_command_and_without_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    for program in ["jit-ssh", "jit-ssh-ca", "jit-ssh-host"] {
        Program::new(program).args(["man"]).args([dir.path()]).run().fine();
    }
    let mut pages: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    let names: Vec<&str> =
        pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap()).collect();
    for name in
        ["jit-ssh.1", "jit-ssh-doctor.1", "jit-ssh-ca-policy-test.8", "jit-ssh-host-setup.8"]
    {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!names.contains(&"jit-ssh-man.1"), "hidden commands have none");
    for page in &pages {
        let lint = Program::new("mandoc").args(["-T", "lint", "-W", "warning"]).args([page]).run();
        // A page has no date: what it is made of has none either.
        let faults: Vec<&str> = lint
            .out
            .lines()
            .filter(|line| !line.ends_with("missing date, using \"\": TH"))
            .collect();
        assert!(faults.is_empty(), "{faults:?}");
        let groff = Program::new("groff").args(["-man", "-ww", "-z", "-Tutf8"]).args([page]).run();
        assert_eq!(groff.fine().err, "", "{}", page.display());
    }
    let shown = Program::new("man").args(["-l"]).args([dir.path().join("jit-ssh-login.1")]);
    let shown = shown.env("MANPAGER", "cat").env("MANWIDTH", "100").run().fine().out;
    for words in ["NAME", "jit-ssh-login - Ask for access", "--because TEXT", "EXAMPLES", "INC-42"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}
