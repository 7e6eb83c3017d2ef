//! The `completions` command: scripts for shells, and the manual page, made from the flags themselves.

use std::io;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use super::{Cli, EXAMPLES, EXIT_STATUS, print};

/// Prints a completion script for a shell, or the manual page, on stdout
///
///   bash: image-migrator completions bash > ~/.local/share/bash-completion/completions/image-migrator
///   zsh: image-migrator completions zsh > a folder of $fpath/_image-migrator
///   fish: image-migrator completions fish > ~/.config/fish/completions/image-migrator.fish
///   PowerShell: image-migrator completions powershell >> $PROFILE
///   man page: image-migrator completions man > ~/.local/share/man/man1/image-migrator.1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CompletionsFlags {
    /// Which shell, or man
    #[arg(value_name = "SHELL")]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Bash,
    Zsh,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Elvish,
    /// The manual page, for man
    Man,
}

impl Kind {
    fn shell(self) -> Option<Shell> {
        match self {
            Self::Bash => Some(Shell::Bash),
            Self::Zsh => Some(Shell::Zsh),
            Self::Fish => Some(Shell::Fish),
            Self::PowerShell => Some(Shell::PowerShell),
            Self::Elvish => Some(Shell::Elvish),
            Self::Man => None,
        }
    }
}

/// clap_complete replaces the hyphen in the name of the program in one way where its bash script labels what a subcommand
/// completes, and in another where it looks the label up. Left so, it finds no subcommand.
const MISLABELLED: &str = "image__subcmd__migrator__subcmd__";
const LABELLED: &str = "image__migrator__subcmd__";

pub(super) fn run(flags: &CompletionsFlags) -> anyhow::Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    match flags.kind.shell() {
        Some(shell) => {
            clap_complete::generate(shell, &mut command, name, &mut text);
            if shell == Shell::Bash {
                text = String::from_utf8_lossy(&text).replace(MISLABELLED, LABELLED).into_bytes();
            }
        }
        None => manual(command, &mut text)?,
    }
    print(&text)
}

/// The command and its subcommands on one page.
fn manual(mut command: clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    // So that the parts know how they are called.
    command.build();
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    for part in ends(&command) {
        let called = part.get_bin_name().unwrap_or_default();
        page.extend_from_slice(format!(".SH {}\n", called.to_uppercase()).as_bytes());
        let man = clap_mangen::Man::new(part.clone());
        let mut section = Vec::new();
        man.render_synopsis_section(&mut section)?;
        man.render_description_section(&mut section)?;
        man.render_options_section(&mut section)?;
        // One level down: its sections are parts of this one.
        page.extend_from_slice(String::from_utf8_lossy(&section).replace("\n.SH ", "\n.SS ").as_bytes());
        if let Some(codes) = part.get_after_help() {
            page.extend_from_slice(format!(".PP\n{}\n", plain(&codes.to_string())).as_bytes());
        }
    }
    for (title, text) in [("EXAMPLES", EXAMPLES), ("EXIT STATUS", EXIT_STATUS)] {
        // As it is laid out: man would fill the lines.
        page.extend_from_slice(format!(".SH {title}\n.nf\n{}\n.fi\n", plain(text)).as_bytes());
    }
    man.render_version_section(page)
}

/// Text in which man finds nothing that it would obey. No line of ours begins with a dot.
fn plain(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// The commands that do something: in place of one that has subcommands, these.
fn ends(command: &clap::Command) -> Vec<&clap::Command> {
    let parts = command.get_subcommands().filter(|part| part.get_name() != "help");
    parts.flat_map(|part| if part.has_subcommands() { ends(part) } else { vec![part] }).collect()
}
