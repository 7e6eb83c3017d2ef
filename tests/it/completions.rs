//! What the program tells of itself to shells, to `man`, and to whoever calls it by another name.

use std::process::Command;

use crate::support::Migration;

async fn script(kind: &str) -> String {
    let run = Migration::with_default_retries().args(["completions", kind]);
    let outcome = run.run().await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{kind}: {outcome}");
    assert_eq!(run.files(), [""; 0], "no rules are needed, and no log is begun");
    outcome.stdout
}

#[tokio::test]
async fn every_shell_gets_a_script_that_knows_the_commands_and_flags() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish", "man"] {
        let script = script(shell).await.replace('\\', "");
        for word in ["image-migrator", "verify", "rewrite", "merge", "limit-rate", "no-clobber", "auth-skeleton"] {
            assert!(script.contains(word), "{shell}: {word}\n{script}");
        }
    }
}

#[tokio::test]
async fn the_manual_page_has_each_command_on_a_line_of_its_own() {
    let page = script("man").await.replace("\\-", "-");
    let begins = |line: &&str| line.starts_with(' ') && line.contains(": image-migrator completions ");
    assert_eq!(page.lines().filter(begins).count(), 5, "{page}");
}

#[tokio::test]
async fn bash_can_read_its_script_and_completes_words_of_every_command() {
    let script = script("bash").await;
    for (line, completed) in [
        ("image-migrator --no-c", "--no-clobber"),
        ("image-migrator ver", "verify"),
        ("image-migrator verify --sh", "--shard"),
        ("image-migrator verify --depth co", "content"),
        ("image-migrator config --auth", "--auth-skeleton"),
        ("image-migrator rewrite --pi", "--pin"),
        ("image-migrator completions zs", "zsh"),
        ("image-migrator report me", "merge"),
        ("image-migrator report merge --out", "--output"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let [.., before, word] = words.as_slice() else { panic!("{line}") };
        let ask = format!("COMP_WORDS=({line}) COMP_CWORD={}", words.len() - 1);
        let ask = format!("{ask}\n_image__migrator image-migrator {word} {before}\n");
        let script = format!("{script}\n{ask}echo \"${{COMPREPLY[@]}}\"\n");
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{completed}\n"), "{line}");
    }
}

#[cfg(unix)]
#[test]
fn usage_lines_have_its_name_whatever_the_file_is_called() {
    use std::os::unix::process::CommandExt as _;
    for arguments in
        [["--help"].as_slice(), &["verify", "--help"], &["rewrite", "--help"], &["report", "merge", "--help"]]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_image-migrator"));
        let output = command.arg0("/opt/mover").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Usage: image-migrator") && !text.contains("mover"), "{text}");
    }
}
