//! Every weakness: a host that has it, and that is otherwise as the good one.

use super::*;

/// What is to be found, and what makes it so.
type Case = (&'static [&'static str], fn(&mut Facts));

fn jumps(facts: &mut Facts, text: &str) {
    principals(facts, text);
    facts.principals[0].login = "jump".to_owned();
}

fn principals(facts: &mut Facts, text: &str) {
    facts.principals[0].content = Look::Seen(text.as_bytes().to_vec());
}

fn hook(facts: &mut Facts, from: &str, to: &str) {
    assert!(PAM.contains(from), "{from}");
    facts.pam.lines = pam(&PAM.replace(from, to));
}

fn certificate(facts: &mut Facts, change: fn(&mut HostCertificate)) {
    match &mut facts.host_certificates[0].1 {
        Look::Seen(Some(certificate)) => change(certificate),
        _ => panic!("the good host has a certificate"),
    }
}

fn stand(facts: &mut Facts, authorities: &[usize]) {
    facts.standing.push(StandingKeys {
        user: "bob".to_owned(),
        file: "/home/bob/.ssh/authorized_keys".into(),
        keys: 2,
        authorities: authorities.to_vec(),
    });
}

const SYSTEM: &[Case] = &[
    (&["NOT_SET_UP"], |f| f.settings = Look::Absent),
    (&["SETTINGS_UNREADABLE"], |f| f.settings = Look::Unreadable("no".to_owned())),
    (&["SETTINGS_MALFORMED"], |f| f.settings = Look::Seen(crate::settings::parse("v = 2"))),
    (&["NOT_ROOT"], |f| f.is_root = false),
    (&["OPEN_TO_OTHERS"], |f| f.nodes[4].mode = 0o664),
    (&["OPEN_TO_OTHERS"], |f| f.nodes[0].mode = 0o1777),
    (&["FOREIGN_OWNER"], |f| f.nodes[2].owner = 1000),
    (&["NOT_A_FILE"], |f| f.nodes[4].kind = Kind::Other),
    (&["CLOCK_NOT_SYNCHRONISED"], |f| f.clock_synchronised = Some(false)),
    (&["CLOCK_UNKNOWN"], |f| f.clock_synchronised = None),
    (&["NO_CGROUP_V2"], |f| f.has_cgroup_v2 = false),
    (&["LINGERING"], |f| f.lingering.push("deploy".to_owned())),
    // A mode that is none of ours but harmless.
    (&[], |f| f.nodes[4].mode = 0o444),
];

const SETTING: &[Case] = &[
    (&["SSHD_REFUSES"], |f| f.sshd.refused = Some("sshd refuses it: line 3.".to_owned())),
    (&["DROP_IN_MISSING"], |f| f.drop_in = Look::Absent),
    (&["DROP_IN_UNREADABLE"], |f| f.drop_in = Look::Unreadable("no".to_owned())),
    (&["DROP_IN_FOREIGN"], |f| f.drop_in = file("TrustedUserCAKeys /x\n")),
    (&["DROP_IN_NOT_READ"], |f| set_config(f, "Include /e/*.conf\n", &[])),
    (&["DROP_IN_UNDER_MATCH"], |f| {
        set_config(f, "Match User bob\nInclude /e/sshd_config.d/*.conf\n", &[]);
    }),
    (&["DROP_IN_NOT_FIRST"], |f| {
        set_config(f, CONFIG, &[("/e/sshd_config.d/00-a.conf", "TrustedUserCAKeys /x\n")]);
    }),
    // The neighbours: after ours; under a Match that ends with its file; something else.
    (&[], |f| set_config(f, CONFIG, &[("/e/sshd_config.d/01-a.conf", "TrustedUserCAKeys /x\n")])),
    (&[], |f| {
        let text = "Match User bob\nTrustedUserCAKeys /x\n";
        set_config(f, CONFIG, &[("/e/sshd_config.d/00-a.conf", text)]);
    }),
    (&[], |f| set_config(f, &format!("Port 22\n{CONFIG}"), &[])),
    (&["CA_NOT_TRUSTED"], |f| set(f, &[("trustedusercakeys", "none")])),
    (&["CA_NOT_TRUSTED", "FOREIGN_CA"], |f| set(f, &[("trustedusercakeys", "/x")])),
    (&["FOREIGN_CA"], |f| set(f, &[("trustedusercakeys", "/e/jit-ssh/user_ca.pub /x")])),
    (&["FOREIGN_CA"], |f| {
        f.sshd.asked.push(asked("bob", &[("trustedusercakeys", "/x")]));
    }),
    (&["CA_NOT_TRUSTED"], |f| {
        f.sshd.asked.push(asked("deploy", &[("trustedusercakeys", "none")]));
    }),
    // No login of this host.
    (&[], |f| f.sshd.asked.push(asked("bob", &[("trustedusercakeys", "none")]))),
    (&["PRINCIPALS_NOT_IN_FORCE"], |f| set(f, &[("authorizedprincipalsfile", "none")])),
    (&["PRINCIPALS_NOT_IN_FORCE"], |f| set(f, &[("authorizedprincipalsfile", "/x/%u")])),
    (&["PRINCIPALS_COMMAND"], |f| set(f, &[("authorizedprincipalscommand", "/x")])),
    (&["OPENSSH_COMMAS", "OPENSSH_NO_PENALTIES", "ORDER_FAULT"], |f| {
        f.sshd.version = Some((9, 3));
        set_config(
            f,
            &format!("{CONFIG}AuthorizedKeysCommand /k\nAuthorizedPrincipalsCommand /p\n"),
            &[],
        );
    }),
    // Mended in 9.4; and it takes both, in this order.
    (&["OPENSSH_COMMAS", "OPENSSH_NO_PENALTIES"], |f| {
        f.sshd.version = Some((9, 4));
        set_config(
            f,
            &format!("{CONFIG}AuthorizedKeysCommand /k\nAuthorizedPrincipalsCommand /p\n"),
            &[],
        );
    }),
    (&["OPENSSH_COMMAS", "OPENSSH_NO_PENALTIES"], |f| {
        f.sshd.version = Some((9, 3));
        set_config(
            f,
            &format!("{CONFIG}AuthorizedPrincipalsCommand /p\nAuthorizedKeysCommand /k\n"),
            &[],
        );
    }),
    (&["MATCH_OVERRIDES"], |f| {
        set_config(f, &format!("{CONFIG}Match Group wheel\nPasswordAuthentication yes\n"), &[]);
        f.sshd.unasked.push("Match Group wheel".to_owned());
    }),
    (&["MATCH_OVERRIDES"], |f| {
        set_config(f, &format!("{CONFIG}Match Group wheel\nTrustedUserCAKeys /x\n"), &[]);
        f.sshd.unasked.push("Match Group wheel".to_owned());
    }),
    (&[], |f| {
        let text = "Match Group wheel\nPasswordAuthentication no\nX11Forwarding yes\n";
        set_config(f, &format!("{CONFIG}{text}"), &[]);
        f.sshd.unasked.push("Match Group wheel".to_owned());
    }),
];

const DOORS: &[Case] = &[
    (&["KEY_FILES_READ"], |f| set(f, &[("authorizedkeysfile", ".ssh/authorized_keys")])),
    (&["STANDING_KEYS"], |f| {
        set(f, &[("authorizedkeysfile", ".ssh/authorized_keys")]);
        stand(f, &[]);
    }),
    (&["STANDING_AUTHORITY", "STANDING_KEYS"], |f| {
        set(f, &[("authorizedkeysfile", ".ssh/authorized_keys")]);
        stand(f, &[2]);
    }),
    (&["KEYS_COMMAND"], |f| set(f, &[("authorizedkeyscommand", "/k %u")])),
    (&["PASSWORD_LOGIN"], |f| set(f, &[("passwordauthentication", "yes")])),
    (&["PASSWORD_LOGIN"], |f| {
        f.sshd.asked.push(asked("bob", &[("passwordauthentication", "yes")]));
    }),
    (&["KEYBOARD_INTERACTIVE_LOGIN"], |f| set(f, &[("kbdinteractiveauthentication", "yes")])),
    (&["KEYBOARD_INTERACTIVE_LOGIN"], |f| set(f, &[("challengeresponseauthentication", "yes")])),
    // Without PAM nobody asks.
    (&["NO_PAM"], |f| set(f, &[("kbdinteractiveauthentication", "yes"), ("usepam", "no")])),
    (&["HOSTBASED_LOGIN"], |f| set(f, &[("hostbasedauthentication", "yes")])),
    (&["GSSAPI_LOGIN"], |f| set(f, &[("gssapiauthentication", "yes")])),
    (&["KERBEROS_LOGIN"], |f| set(f, &[("kerberosauthentication", "yes")])),
    // A password beside a certificate is no other way in; one instead of it is.
    (&["MAY_BE_SHUT_OUT"], |f| {
        let both = ("authenticationmethods", "publickey,password");
        set(f, &[("passwordauthentication", "yes"), both]);
    }),
    (&["PASSWORD_LOGIN"], |f| {
        let either = ("authenticationmethods", "publickey password");
        set(f, &[("passwordauthentication", "yes"), either]);
    }),
    (&["EMPTY_PASSWORDS", "PASSWORD_LOGIN"], |f| {
        set(f, &[("passwordauthentication", "yes"), ("permitemptypasswords", "yes")]);
    }),
    (&[], |f| set(f, &[("permitemptypasswords", "yes")])),
    (&["PASSWORD_LOGIN", "ROOT_PASSWORD"], |f| {
        set(f, &[("passwordauthentication", "yes"), ("permitrootlogin", "yes")]);
    }),
    (&[], |f| set(f, &[("permitrootlogin", "yes")])),
    // Whether sshd shows sessions their certificate changes nothing: PAM has it anyway.
    (&[], |f| set(f, &[("exposeauthinfo", "no")])),
    (&["STRICT_MODES_OFF"], |f| set(f, &[("strictmodes", "no")])),
    (&["NO_PAM"], |f| set(f, &[("usepam", "no")])),
    (&["SHUT_OUT"], |f| set(f, &[("pubkeyauthentication", "no")])),
    (&["SHUT_OUT"], |f| set(f, &[("denyusers", "deploy")])),
    (&["SHUT_OUT"], |f| set(f, &[("allowusers", "bob")])),
    (&["MAY_BE_SHUT_OUT"], |f| set(f, &[("allowgroups", "ssh")])),
    (&[], |f| set(f, &[("denyusers", "bob")])),
];

const CA: &[Case] = &[
    (&["CA_FILE_MISSING"], |f| f.user_ca = Look::Absent),
    (&["CA_FILE_UNREADABLE"], |f| f.user_ca = Look::Unreadable("no".to_owned())),
    (&["CA_FILE_EMPTY"], |f| f.user_ca = file("# nothing\n")),
    (&["CA_LINE_MALFORMED"], |f| f.user_ca = file(user_ca() + "ssh-ed25519 AAAA x\n")),
    (&["CA_FILE_EMPTY", "CA_LINE_MALFORMED"], |f| f.user_ca = file(format!("x\n{}", user_ca()))),
    (&["CA_LINE_CERTIFICATE"], |f| {
        let kind = "ssh-ed25519-cert-v01@openssh.com";
        let blob = "AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAA";
        f.user_ca = file(format!("{}{kind} {blob}\n", user_ca()));
    }),
    (&["CA_KEY_ADDED"], |f| f.user_ca = file(format!("{}{KEY} somebody\n", user_ca()))),
    (&["CA_OF_ANOTHER"], |f| f.user_ca = file(user_ca().replace("SHA256:u", "SHA256:v"))),
    (&[], |f| f.user_ca = file(format!("{}\n{KEY} jit-ssh signer 2\n# x\n", user_ca()))),
];

const PRINCIPALS: &[Case] = &[
    (&["NO_PRINCIPALS"], |f| f.principals.clear()),
    (&["PRINCIPALS_UNREADABLE"], |f| f.principals[0].content = Look::Unreadable("no".to_owned())),
    (&["PRINCIPALS_HIDDEN"], |f| f.principals[0].mode = 0o600),
    (&["PRINCIPALS_HIDDEN"], |f| f.nodes[2].mode = 0o750),
    (&["PRINCIPALS_EMPTY"], |f| principals(f, "# deploy@prod-host\n")),
    (&["PRINCIPAL_BARE"], |f| principals(f, "deploy@prod-host\ndeploy\n")),
    (&["PRINCIPAL_OTHER_HOST"], |f| principals(f, "deploy@other-host\n")),
    (&["PRINCIPAL_OTHER_LOGIN"], |f| principals(f, "deploy@prod-host\nroot@prod-host\n")),
    (&["PRINCIPAL_MALFORMED"], |f| principals(f, "deploy@prod-host\ndeploy@PROD\n")),
    (&["PRINCIPALS_NO_ACCOUNT"], |f| f.principals[0].has_account = false),
    (&[], |f| principals(f, "# x\n\nrestrict deploy@prod-host # y\n")),
    (&["PRINCIPAL_OPEN_JUMP"], |f| principals(f, "deploy@prod-host\njump@prod-host/db-1\n")),
    (&["PRINCIPAL_OPEN_JUMP"], |f| jumps(f, "restrict,port-forwarding jump@prod-host/db-1\n")),
    (&["PRINCIPAL_OPEN_JUMP"], |f| jumps(f, "jump@prod-host\n")),
    (&["PRINCIPAL_OTHER_HOST"], |f| {
        jumps(f, "restrict,port-forwarding,permitopen=\"10.0.0.5:22\" jump@other/db-1\n");
    }),
    (&["PRINCIPAL_OTHER_LOGIN"], |f| {
        principals(f, "restrict,port-forwarding,permitopen=\"10.0.0.5:22\" jump@prod-host/db-1\n");
    }),
    (&[], |f| {
        jumps(f, "restrict,port-forwarding,permitopen=\"10.0.0.5:22\" jump@prod-host/db-1\n")
    }),
    (&[], |f| jumps(f, "")),
];

const KRL: &[Case] = &[
    (&["NO_REVOKED_KEYS"], |f| {
        set(f, &[("revokedkeys", "none")]);
        f.revoked.clear();
    }),
    (&["KRL_MISSING"], |f| f.revoked[0].content = Look::Absent),
    (&["KRL_UNREADABLE"], |f| f.revoked[0].content = Look::Unreadable("no".to_owned())),
    (&["KRL_BROKEN"], |f| f.revoked[0].content = Look::Seen(RevokedContent::Broken)),
    (&["KRL_EMPTY"], |f| f.revoked[0].content = Look::Seen(RevokedContent::Empty)),
    (&["KRL_NOT_OURS"], |f| f.revoked[0].path = "/x/krl".into()),
];

const HOST_KEYS: &[Case] = &[
    (&["HOST_KEY_OPEN"], |f| {
        f.host_keys[0].1 = Look::Seen(node("/e/key", Kind::File, 0o640));
    }),
    // As on Red Hat's systems: root's, and read by the group made for it.
    (&[], |f| {
        let key = Node { is_of_key_group: true, ..node("/e/key", Kind::File, 0o640) };
        f.host_keys[0].1 = Look::Seen(key);
    }),
    (&["HOST_KEY_OPEN"], |f| {
        let key = Node { is_of_key_group: true, ..node("/e/key", Kind::File, 0o644) };
        f.host_keys[0].1 = Look::Seen(key);
    }),
    (&["HOST_KEY_OWNER"], |f| {
        f.host_keys[0].1 = Look::Seen(Node { owner: 7, ..node("/e/key", Kind::File, 0o600) });
    }),
    (&["HOST_KEY_MISSING"], |f| {
        set_config(f, &format!("{CONFIG}HostKey /e/key\n"), &[]);
        f.host_keys[0].1 = Look::Absent;
    }),
    // One of sshd's usual ones.
    (&[], |f| f.host_keys[0].1 = Look::Absent),
    (&["HOST_CERTIFICATE_NOT_RENEWED"], |f| {
        f.drop_in = file(DROP_IN.replace("Include", "#Include"));
    }),
    // Without a guard there is no link to renew it.
    (&["GUARD_OFF", "HOOK_UNASKED"], |f| {
        f.drop_in = file(DROP_IN.replace("Include", "#Include"));
        settings(f).guard = Guard::Off;
    }),
    (&["NO_HOST_CERTIFICATE"], |f| f.host_certificates.clear()),
    (&["HOST_CERTIFICATE_MISSING"], |f| f.host_certificates[0].1 = Look::Absent),
    (&["HOST_CERTIFICATE_MALFORMED"], |f| f.host_certificates[0].1 = Look::Seen(None)),
    (&["HOST_CERTIFICATE_OF_USER"], |f| certificate(f, |c| c.is_host = false)),
    (&["HOST_CERTIFICATE_OTHER_KEY"], |f| certificate(f, |c| c.key.push(0))),
    (&["HOST_CERTIFICATE_OTHER_KEY"], |f| f.public_keys = Some(Vec::new())),
    // Where nobody can tell, nothing is said.
    (&[], |f| f.public_keys = None),
    (&["HOST_CERTIFICATE_EXPIRED"], |f| certificate(f, |c| c.valid_before = 2_000)),
    (&[], |f| certificate(f, |c| c.valid_before = 2_001)),
    (&["HOST_CERTIFICATE_NOT_YET"], |f| certificate(f, |c| c.valid_after = 2_001)),
    (&[], |f| certificate(f, |c| c.valid_after = 2_000)),
    (&["HOST_CERTIFICATE_OTHER_NAME"], |f| {
        certificate(f, |c| c.principals = vec!["other-host".to_owned()]);
    }),
    (&[], |f| certificate(f, |c| c.principals.push("other-host".to_owned()))),
];

const RUNNING: &[Case] = &[
    (&["OPENSSH_UNKNOWN"], |f| f.sshd.version = None),
    (&["OPENSSH_COMMAS", "OPENSSH_NO_PENALTIES", "OPENSSH_TOO_OLD"], |f| {
        f.sshd.version = Some((8, 1));
    }),
    (&["OPENSSH_COMMAS", "OPENSSH_NO_PENALTIES", "OPENSSH_OLD"], |f| {
        f.sshd.version = Some((8, 4));
    }),
    (&["OPENSSH_COMMAS", "OPENSSH_NO_PENALTIES"], |f| f.sshd.version = Some((8, 5))),
    (&["OPENSSH_COMMAS"], |f| f.sshd.version = Some((9, 8))),
    (&["OPENSSH_COMMAS"], |f| f.sshd.version = Some((10, 2))),
    (&["SSHD_NOT_RUNNING"], |f| f.running = Running::None { pid_file: "/x".to_owned() }),
    (&["SSHD_RELATIVE_PATH"], |f| f.running = running(&["sshd", "-f", "/e/sshd_config"])),
    (&["SSHD_RELATIVE_CONFIG"], |f| f.running = running(&["/usr/sbin/sshd", "-f", "sshd_config"])),
    (&["SSHD_OTHER_CONFIG"], |f| f.running = running(&["/usr/sbin/sshd", "-f/x/sshd_config"])),
    // Without -f it is the system's.
    (&["SSHD_OTHER_CONFIG"], |f| f.running = running(&["/usr/sbin/sshd"])),
    (&["NEEDS_RELOAD"], |f| match &mut f.running {
        Running::Found { stale, .. } => stale.push("/e/sshd_config".into()),
        Running::None { .. } => panic!("one runs"),
    }),
    (&["SSHD_REPLACED"], |f| match &mut f.running {
        Running::Found { is_replaced, .. } => *is_replaced = true,
        Running::None { .. } => panic!("one runs"),
    }),
];

const PAM_CASES: &[Case] = &[
    (&["PAM_UNREADABLE"], |f| f.pam.lines = Look::Absent),
    (&["PAM_UNREADABLE"], |f| f.pam.lines = Look::Unreadable("no".to_owned())),
    (&["PAM_FILE_OPEN"], |f| f.pam.nodes[0].mode = 0o666),
    (&["PAM_FILE_OPEN"], |f| f.pam.nodes[0].owner = 1000),
    (&["HOOK_MISSING"], |f| hook(f, HOOK, "")),
    (&["HOOK_MISSING"], |f| hook(f, "jit-ssh-host session ", "jit-ssh-host ")),
    (&["HOOK_MISSING"], |f| hook(f, "session required pam_exec", "account required pam_exec")),
    (&["HOOK_TWICE"], |f| hook(f, HOOK, &HOOK.repeat(2))),
    (&["HOOK_AFTER_USER_ENVIRONMENT"], |f| {
        let moved = "session required pam_env.so user_readenv=1\n";
        f.pam.lines = pam(&(PAM.replace(moved, "").replace(HOOK, moved) + HOOK));
    }),
    // What it reads in the auth stack is there before any session line.
    (&["HOOK_AFTER_USER_ENVIRONMENT"], |f| {
        hook(f, "auth required pam_unix.so", "auth required pam_env.so user_readenv=1");
    }),
    (&[], |f| hook(f, "auth required pam_unix.so", "auth required pam_env.so user_readenv=0")),
    (&[], |f| hook(f, HOOK, &format!("session required pam_env.so readenv=1\n{HOOK}"))),
    (&["HOOK_TOO_EARLY"], |f| {
        hook(
            f,
            &format!("session optional pam_systemd.so\n{HOOK}"),
            &format!("{HOOK}session optional pam_systemd.so\n"),
        );
    }),
    (&["HOOK_TOO_EARLY", "HOOK_TOO_EARLY"], |f| {
        let head = "session required pam_loginuid.so\nsession optional pam_systemd.so\n";
        hook(f, &format!("{head}{HOOK}"), &format!("{HOOK}{head}"));
    }),
    (&["HOOK_NOT_REQUIRED"], |f| hook(f, "required pam_exec", "optional pam_exec")),
    (&["HOOK_NOT_REQUIRED"], |f| hook(f, "required pam_exec", "sufficient pam_exec")),
    (&["HOOK_NOT_REQUIRED"], |f| hook(f, "required pam_exec", "[default=ignore] pam_exec")),
    (&[], |f| hook(f, "required pam_exec", "requisite pam_exec")),
    (&[], |f| hook(f, "required pam_exec", "[success=ok default=die] pam_exec")),
    (&["GUARD_OPTIONAL"], |f| {
        settings(f).guard = Guard::Optional;
        hook(f, "required pam_exec", "optional pam_exec");
    }),
    (&["HOOK_SKIPPED"], |f| hook(f, "optional pam_systemd", "sufficient pam_systemd")),
    (&["HOOK_SKIPPED"], |f| {
        hook(f, "optional pam_systemd", "[success=1 default=ignore] pam_systemd")
    }),
    (&["HOOK_SKIPPED"], |f| hook(f, "required pam_loginuid", "[success=2] pam_loginuid")),
    (&["HOOK_SKIPPED"], |f| {
        hook(f, "required pam_env.so user", "[success=ok default=reset] pam_env.so user");
    }),
    // A jump that lands on the hook, as Debian's common-session begins; one in another stack.
    (&[], |f| hook(f, "required pam_loginuid", "[success=1] pam_loginuid")),
    (&[], |f| hook(f, "auth required", "auth sufficient")),
    (&["HOOK_ON_CLOSE"], |f| hook(f, "type=open_session ", "")),
    (&["HOOK_SETEUID"], |f| hook(f, "quiet ", "quiet seteuid ")),
    (&["HOOK_OTHER_ETC"], |f| hook(f, "session --etc /e\n", "session\n")),
    (&["HOOK_OTHER_ETC"], |f| hook(f, "session --etc /e\n", "session --etc /x\n")),
    (&["HOOK_PROGRAM_MISSING"], |f| f.pam.program.clear()),
    (&["HOOK_PROGRAM_NOT_EXECUTABLE"], |f| f.pam.program[0].mode = 0o644),
    (&["HOOK_PROGRAM_OPEN"], |f| f.pam.program[0].mode = 0o775),
    (&["HOOK_PROGRAM_OPEN"], |f| f.pam.program[1].owner = 1000),
    (&["PAM_OTHER_SERVICE"], |f| set(f, &[("pamservicename", "other")])),
    // Under a Match it is another for some; and that of an account without our certificates is no matter.
    (&["PAM_OTHER_SERVICE"], |f| {
        f.sshd.asked.push(asked("deploy", &[("pamservicename", "sftp")]));
    }),
    (&[], |f| f.sshd.asked.push(asked("bob", &[("pamservicename", "sftp")]))),
    (&["MATCH_OVERRIDES"], |f| {
        set_config(f, &format!("{CONFIG}Match Group sftp\nPAMServiceName sftp\n"), &[]);
        f.sshd.unasked.push("Match Group sftp".to_owned());
    }),
    (&[], |f| {
        set_config(f, &format!("{CONFIG}Match Group sftp\nPAMServiceName sshd\n"), &[]);
        f.sshd.unasked.push("Match Group sftp".to_owned());
    }),
    (&["OPENSSH_COMMAS", "OPENSSH_NO_PENALTIES", "PAM_OTHER_SERVICE"], |f| {
        f.sshd.version = Some((9, 2));
        f.running = running(&["/opt/x/sshd-test", "-f", "/e/sshd_config"]);
    }),
    (&["GUARD_OFF", "HOOK_UNASKED"], |f| settings(f).guard = Guard::Off),
];

const GUARD: &[Case] = &[
    (&["GUARD_OFF"], |f| {
        settings(f).guard = Guard::Off;
        hook(f, HOOK, "");
        f.guard.socket = Look::Absent;
    }),
    (&["GUARD_OPTIONAL"], |f| settings(f).guard = Guard::Optional),
    (&["GUARD_NOT_RUNNING"], |f| f.guard.answers = Err("nobody does".to_owned())),
    (&["GUARD_NOT_RUNNING"], |f| f.guard.socket = Look::Absent),
    (&["GUARD_NOT_RUNNING", "GUARD_OPTIONAL"], |f| {
        settings(f).guard = Guard::Optional;
        f.guard.answers = Err("nobody does".to_owned());
    }),
    (&["GUARD_OTHER_ETC"], |f| f.guard.answers = Ok(Answering::Other("/x".into()))),
    (&["GUARD_OLD"], |f| f.guard.answers = Ok(Answering::Older)),
    (&["GUARD_NO_SOCKET"], |f| f.guard.socket = Look::Seen(node("/s", Kind::File, 0o600))),
    (&["GUARD_SOCKET_OPEN"], |f| f.guard.socket = Look::Seen(node("/s", Kind::Socket, 0o666))),
    (&["GUARD_DIR_OPEN"], |f| f.guard.dir = Look::Seen(node("/d", Kind::Dir, 0o777))),
];

const LINK: &[Case] = &[
    (&["LINK_NOT_RUNNING"], |f| f.link.runs = false),
    (&["LINK_NOT_RUNNING"], |f| f.link.heard = Look::Absent),
    (&["LINK_NOT_RUNNING"], |f| f.link.heard = Look::Unreadable("no".to_owned())),
    (&["REVOCATIONS_STALE"], |f| heard(f).heard = Some(UnixTime(1_399))),
    (&[], |f| heard(f).heard = Some(UnixTime(1_400))),
    (&["REVOCATIONS_STALE"], |f| heard(f).heard = Some(UnixTime(2_601))),
    (&["REVOCATIONS_STALE"], |f| heard(f).heard = None),
    // It has just begun, and has a minute; what is in the way for a moment is no weakness.
    (&[], |f| *heard(f) = Heard::example(UnixTime(1_940), None)),
    (&[], |f| heard(f).problem = Some("The CA is away.".to_owned())),
    // Without a guard there is no link, and of a guard that is down it is told as that.
    (&["GUARD_NOT_RUNNING"], |f| {
        f.guard.answers = Err("nobody does".to_owned());
        f.link.runs = false;
    }),
];

const ALL: [&[Case]; 11] =
    [SYSTEM, SETTING, DOORS, CA, PRINCIPALS, KRL, HOST_KEYS, RUNNING, PAM_CASES, GUARD, LINK];

#[test]
fn a_good_host_has_no_weakness_and_each_weakness_is_found_by_what_makes_it() {
    assert_eq!(codes(&judge(&good())), Vec::<&str>::new());
    for (place, (expected, change)) in ALL.into_iter().flatten().enumerate() {
        let mut facts = good();
        change(&mut facts);
        let found = judge(&facts);
        assert_eq!(codes(&found), *expected, "case {place}: {found:#?}");
        assert!(found.is_sorted_by_key(|finding| finding.weakness.describe().severity));
    }
}

#[test]
fn every_code_there_is_has_a_fixture_and_every_weakness_says_what_and_how() {
    let rules = [
        include_str!("../rules/system.rs"),
        include_str!("../rules/setting.rs"),
        include_str!("../rules/doors.rs"),
        include_str!("../rules/ca.rs"),
        include_str!("../rules/principals.rs"),
        include_str!("../rules/krl.rs"),
        include_str!("../rules/host_keys.rs"),
        include_str!("../rules/running.rs"),
        include_str!("../rules/pam.rs"),
        include_str!("../rules/guard.rs"),
        include_str!("../rules/link.rs"),
    ];
    let is_code = |text: &&str| {
        text.len() > 4 && text.chars().all(|char| char.is_ascii_uppercase() || "_2".contains(char))
    };
    let mut codes: Vec<&str> =
        rules.iter().flat_map(|text| text.split('"').filter(is_code)).collect();
    codes.sort_unstable();
    codes.dedup();
    assert!(codes.len() > 70, "{codes:?}");
    let mut seen = Vec::new();
    for (_, change) in ALL.into_iter().flatten() {
        let mut facts = good();
        change(&mut facts);
        for finding in judge(&facts) {
            let told = finding.weakness.describe();
            assert!(told.message.ends_with('.') && !told.fix.is_empty(), "{told:?}");
            assert!(!told.fix.ends_with('.') && !told.message.contains("  "), "{told:?}");
            seen.push(told.code);
        }
    }
    for code in codes {
        assert!(seen.contains(&code), "{code} has no fixture");
    }
}

#[test]
fn a_finding_points_at_the_line_that_makes_it() {
    let place = |change: fn(&mut Facts)| {
        let mut facts = good();
        change(&mut facts);
        judge(&facts)[0].place.as_ref().map(ToString::to_string).unwrap_or_default()
    };
    let password = place(|f| {
        set_config(f, &format!("{CONFIG}\nMatch User bob\n  passwordauthentication yes\n"), &[]);
        f.sshd.asked.push(asked("bob", &[("passwordauthentication", "yes")]));
    });
    assert_eq!(password, "/e/sshd_config:5");
    assert_eq!(place(|f| principals(f, "# x\ndeploy\n")), "/e/jit-ssh/principals/deploy:2");
    assert_eq!(place(|f| hook(f, "required pam_exec", "optional pam_exec")), "/etc/pam.d/sshd:4");
    assert_eq!(
        place(|f| f.settings = Look::Seen(crate::settings::parse("v = x"))),
        "/e/jit-ssh/host.toml:1"
    );
}

#[test]
fn what_does_not_arrive_is_told_with_its_age_its_reason_and_the_guards_own_places() {
    let told = |code: &str, change: fn(&mut Facts)| {
        let mut facts = good();
        facts.now = UnixTime(1_795_000_000);
        heard(&mut facts).heard = Some(UnixTime(1_795_000_000));
        change(&mut facts);
        let told = judge(&facts).into_iter().map(|finding| finding.weakness.describe());
        told.into_iter().find(|told| told.code == code).unwrap()
    };
    let stale = told("REVOCATIONS_STALE", |f| {
        heard(f).heard = Some(UnixTime(1_795_000_000 - 7_260));
        heard(f).problem = Some("https://ca.example:7443 does not answer.".to_owned());
    });
    assert!(stale.message.contains("at 2026-11-18 09:05:40 UTC (2 hours ago)"), "{stale:?}");
    assert!(stale.message.ends_with("https://ca.example:7443 does not answer."), "{stale:?}");
    let dead = told("LINK_NOT_RUNNING", |f| {
        f.link.runs = false;
        heard(f).state = "/srv/state".into();
        f.guard.run = "/srv/run".into();
    });
    let line = "jit-ssh-host guard --etc /e --run /srv/run --state /srv/state";
    assert!(dead.fix.contains(line) && !dead.fix.contains("systemctl"), "{dead:?}");
    assert!(dead.message.contains("last heard at 2026-11-18 11:06:40 UTC"), "{dead:?}");
    let usual = told("GUARD_NOT_RUNNING", |f| {
        f.layout = Layout::new(Path::new("/etc/ssh"), None).unwrap();
        f.guard.answers = Err("nobody does".to_owned());
    });
    assert_eq!(usual.fix, "systemctl restart jit-ssh-guard; without systemd: jit-ssh-host guard");
}

#[test]
fn a_host_that_is_not_set_up_hears_so_once_and_of_its_sshd_all_the_same() {
    let mut facts = good();
    facts.settings = Look::Absent;
    facts.user_ca = Look::Absent;
    facts.drop_in = Look::Absent;
    facts.principals.clear();
    facts.revoked.clear();
    facts.host_certificates.clear();
    facts.pam.lines = pam("");
    set_config(&mut facts, "", &[]);
    let plain = [
        ("trustedusercakeys", "none"),
        ("authorizedprincipalsfile", "none"),
        ("revokedkeys", "none"),
    ];
    set(&mut facts, &plain);
    assert_eq!(codes(&judge(&facts)), ["NOT_SET_UP"]);
    let changes = [plain.as_slice(), &[("passwordauthentication", "yes")]].concat();
    set(&mut facts, &changes);
    assert_eq!(codes(&judge(&facts)), ["NOT_SET_UP", "PASSWORD_LOGIN"]);
    set(&mut facts, &[("trustedusercakeys", "/x"), plain[1], plain[2]]);
    assert_eq!(codes(&judge(&facts)), ["FOREIGN_CA", "NOT_SET_UP"]);
}
