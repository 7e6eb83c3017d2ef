//! Running the program as a user does: in a directory of its own, with two files and a clean environment.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use scriptable_registry::{Kind, Registry};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

pub const GENERATE: &str = "Start to generate images tasks, please wait ...";
pub const HANDLE: &str = "Start to handle images tasks, please wait ...";
pub const RETRY_GENERATE: &str = "Start to retry to generate images tasks, please wait ...";
pub const RETRY_HANDLE: &str = "Start to retry images tasks, please wait ...";

/// A run that lasts so long hangs: no test asserts a time, but every test ends.
const HANGS: Duration = Duration::from_secs(150);

/// Looks again and again until there is something to be seen; `what` is said if that never comes.
pub async fn until_seen<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let seen = async {
        loop {
            match look().await {
                Some(seen) => return seen,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(HANGS, seen).await.unwrap_or_else(|_| panic!("{what} is not to be seen"))
}

/// The last line of standard output.
pub fn summary(tasks: usize, failed: usize, not_generated: usize) -> String {
    format!("Images({tasks}) migration finished, {failed} images tasks failed, {not_generated} tasks generate failed")
}

/// A command line, the files it finds and the environment it has.
#[derive(Debug)]
pub struct Migration {
    directory: TempDir,
    rules: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    stdin: Option<String>,
    stdout: Stdout,
    /// Commands of a shell that run the program, which is `"$0" "$@"` there.
    launcher: Option<String>,
}

/// Where standard output goes.
#[derive(Debug)]
enum Stdout {
    /// To the test.
    Kept,
    File(PathBuf),
    /// To nobody: the other end of the pipe is closed.
    Closed,
}

impl From<&Stdout> for Stdio {
    fn from(stdout: &Stdout) -> Self {
        match stdout {
            Stdout::Kept => Stdio::piped(),
            Stdout::File(path) => std::fs::File::create(path).unwrap().into(),
            Stdout::Closed => std::io::pipe().unwrap().1.into(),
        }
    }
}

impl Migration {
    /// No rules yet, no auth.json, and no retries, so that a failure is told at once.
    pub fn new() -> Self {
        Self::with_default_retries().args(["--retries", "0"])
    }

    /// No rules yet, no auth.json, no argument.
    pub fn with_default_retries() -> Self {
        Migration {
            directory: tempfile::tempdir().unwrap(),
            rules: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            stdin: None,
            stdout: Stdout::Kept,
            launcher: None,
        }
    }

    /// Adds a rule to images.json: the first one stands at 2:3, the next at 3:3.
    pub fn rule(self, source: impl AsRef<str>, destination: impl AsRef<str>) -> Self {
        self.rule_to(source, serde_json::json!(destination.as_ref()))
    }

    /// Adds a rule with any value.
    pub fn rule_to(mut self, source: impl AsRef<str>, destination: serde_json::Value) -> Self {
        self.rules.push(format!("  {}: {destination}", serde_json::json!(source.as_ref())));
        let text = format!("{{\n{}\n}}\n", self.rules.join(",\n"));
        self.images(&text)
    }

    /// Adds the rule by which all of `team/app` goes to `moved/app`.
    pub fn app(self, source: &Registry, destination: &Registry) -> Self {
        self.rule(format!("{}/team/app", source.host()), format!("{}/moved/app", destination.host()))
    }

    /// Adds the rule by which these tags of `team/app` go to `moved/app`.
    pub fn app_tags(self, source: &Registry, tags: &str, destination: &Registry) -> Self {
        self.rule(source.reference("team/app", tags), format!("{}/moved/app", destination.host()))
    }

    /// Writes images.json.
    pub fn images(self, text: &str) -> Self {
        self.file("images.json", text)
    }

    /// Writes auth.json.
    pub fn auth(self, value: &serde_json::Value) -> Self {
        self.file("auth.json", value.to_string())
    }

    /// Writes a file.
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.path(name), text).unwrap();
        // As files with passwords should be.
        if name.ends_with(".json") {
            std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        self
    }

    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    /// Has standard output go to a file instead, as a shell's `>` does.
    pub fn stdout_to(mut self, name: &str) -> Self {
        self.stdout = Stdout::File(self.path(name));
        self
    }

    /// Has standard output go to a pipe of which nobody reads anything, as `| true` does in a shell.
    pub fn stdout_to_nobody(mut self) -> Self {
        self.stdout = Stdout::Closed;
        self
    }

    /// Has a shell run it, by these commands, in which it is `"$0" "$@"`.
    pub fn launched_by(mut self, commands: &str) -> Self {
        self.launcher = Some(commands.to_owned());
        self
    }

    /// A path in the directory of the run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The names of the files in the directory of the run.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Runs it to its end. May be called again, in the same directory.
    pub async fn run(&self) -> Outcome {
        self.start().await.finish().await
    }

    /// Runs it while the test does something else.
    pub async fn start(&self) -> Running<'_> {
        const PROGRAM: &str = env!("CARGO_BIN_EXE_image-migrator");
        let mut command = Command::new(if self.launcher.is_some() { "sh" } else { PROGRAM });
        if let Some(commands) = &self.launcher {
            command.args(["-c", commands, PROGRAM]);
        }
        command.current_dir(self.directory.path()).args(&self.arguments).env_clear();
        command.env("HOME", self.directory.path());
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(&self.stdout).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        if let (Some(text), Some(mut stdin)) = (&self.stdin, child.stdin.take()) {
            // What refuses before it reads has no need of it.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
        Running { child, migration: self }
    }
}

/// A program under way.
#[derive(Debug)]
pub struct Running<'a> {
    child: Child,
    /// Whose directory it runs in.
    migration: &'a Migration,
}

impl Running<'_> {
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let status = std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(status.success(), "kill -s {name}");
    }

    /// Waits until a registry has seen so many requests of a kind, as long as the program runs.
    pub async fn until(&mut self, registry: &Registry, kind: Kind, count: u64) {
        tokio::select! {
            () = registry.until(kind, count) => {}
            status = self.child.wait() => {
                let mut said = String::new();
                let _ = self.child.stderr.take().unwrap().read_to_string(&mut said).await;
                panic!("it ended before {count} x {kind:?}: {status:?}\n{said}");
            }
            () = tokio::time::sleep(HANGS) => {
                let seen = registry.count(kind);
                panic!("{seen} x {kind:?}, not {count}; its log says:\n{}", self.log().unwrap_or_default());
            }
        }
    }

    /// Waits until the log holds a text.
    pub async fn until_logged(&self, text: &str) {
        let logged = async {
            while !self.log().is_some_and(|log| log.contains(text)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(HANGS, logged).await.is_err() {
            panic!("{text:?} is not in its log:\n{}", self.log().unwrap_or_default());
        }
    }

    fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// The most memory it has had so far, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn log(&self) -> Option<String> {
        read(&self.migration.path("image-migrator.log"))
    }

    pub async fn finish(self) -> Outcome {
        let log = self.migration.path("image-migrator.log");
        let Ok(output) = tokio::time::timeout(HANGS, self.child.wait_with_output()).await else {
            panic!("it hangs; its log says:\n{}", read(&log).unwrap_or_default());
        };
        Outcome::new(output.unwrap(), read(&log))
    }
}

fn read(log: &Path) -> Option<String> {
    std::fs::read(log).ok().map(|text| String::from_utf8(text).expect("the log is UTF-8"))
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; `None` after a signal that was not handled.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// What `image-migrator.log` holds, if it is there.
    pub log: Option<String>,
}

impl Outcome {
    fn new(output: Output, log: Option<String>) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
        Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr), log }
    }

    /// Asserts the exit code and all of standard output.
    #[track_caller]
    pub fn assert(&self, code: i32, lines: &[&str]) -> &Self {
        let expected: String = lines.iter().map(|line| format!("{line}\n")).collect();
        assert_eq!((self.code, &self.stdout), (Some(code), &expected), "{self}");
        self
    }

    /// Asserts that so many tasks succeeded, at once.
    #[track_caller]
    pub fn assert_success(&self, tasks: usize) -> &Self {
        self.assert_single_round(0, &summary(tasks, 0, 0))
    }

    /// Asserts exit code 1 and a summary, without retry rounds, and that each failure is named in a line.
    #[track_caller]
    pub fn assert_failures(&self, tasks: usize, failed: usize, not_generated: usize) -> &Self {
        let named = self.lines("FAILED").len() + self.lines("INVALID").len();
        assert_eq!(named, failed + not_generated, "{self}");
        self.assert_single_round(1, &summary(tasks, failed, not_generated))
    }

    #[track_caller]
    fn assert_single_round(&self, code: i32, summary: &str) -> &Self {
        self.assert(code, &[GENERATE, HANDLE, summary])
    }

    /// Asserts that the configuration was refused with a message that holds all of these.
    #[track_caller]
    pub fn assert_refused(&self, words: &[&str]) -> &Self {
        self.assert(2, &[]);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing.\n{self}");
        }
        self
    }

    /// The lines of standard error that begin with a word.
    #[track_caller]
    pub fn lines(&self, word: &str) -> Vec<&str> {
        assert!(!word.ends_with(' '), "no line begins with {word:?} and another space");
        let prefix = format!("{word} ");
        self.stderr.lines().filter(|line| line.starts_with(&prefix)).collect()
    }

    /// Asserts that one line of standard error begins with the first text and holds the others.
    #[track_caller]
    pub fn assert_line(&self, start: &str, words: &[&str]) -> &Self {
        let lines: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with(start)).collect();
        let [line] = lines.as_slice() else { panic!("{} lines begin with {start:?}.\n{self}", lines.len()) };
        for word in words {
            assert!(line.contains(word), "{word:?} is missing in {line:?}.\n{self}");
        }
        self
    }

    /// Asserts that an image failed, with a reason.
    #[track_caller]
    pub fn assert_failed(&self, source: &str, destination: &str, words: &[&str]) -> &Self {
        self.assert_line(&format!("FAILED {source} -> {destination}: "), words)
    }

    /// All that it has written.
    pub fn everything(&self) -> String {
        format!("{}{}{}", self.stdout, self.stderr, self.log.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.log.as_deref().unwrap_or("(none)\n");
        let Outcome { code, stdout, stderr, .. } = self;
        write!(f, "exit code: {code:?}\n--- stdout\n{stdout}--- stderr\n{stderr}--- log\n{log}")
    }
}
