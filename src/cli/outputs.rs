//! The files that a run leaves behind. They are checked before anything is done and written when the run has ended.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::NOT_PRINTED;
use crate::event::Ending;
use crate::file::{Access, Target, is_same, shown};
use crate::report::file::ReportFile;
use crate::report::record::Document;
use crate::report::{Console, failed};

/// Reports, and the rules that bring what failed.
pub(super) struct Outputs {
    reports: Vec<ReportFile>,
    failed: Option<Target>,
}

impl Outputs {
    /// Checks, before anything is done, that the files can be written. `inputs` are read, and neither they nor the log are
    /// to be replaced.
    pub fn check(
        reports: &[PathBuf],
        failed: Option<&Path>,
        log: Option<&Path>,
        inputs: &[&Path],
    ) -> anyhow::Result<Self> {
        let reports = report_files(reports).context("--report")?;
        let failed = failed.map(Target::new).transpose().context("--failed")?;
        let targets: Vec<&Path> = reports.iter().map(|file| &file.target).chain(&failed).map(Target::path).collect();
        distinct(&targets, log, inputs)?;
        Ok(Self { reports, failed })
    }

    /// Whether what became of each image is needed.
    pub fn want_records(&self) -> bool {
        !self.reports.is_empty()
    }

    /// Writes them. Says which could not be written; answers whether all could.
    pub fn write(&self, ending: &Ending, document: Option<&Document>, console: &Console) -> bool {
        let reports = document.is_none_or(|document| write(&self.reports, document, console));
        let failed = self.failed.as_ref().is_none_or(|target| {
            wrote(target, target.write(Access::Owner, |writer| failed::write(ending, writer)), console)
        });
        reports && failed
    }
}

/// Writes reports. Says which could not be written; answers whether all could.
pub(super) fn write(reports: &[ReportFile], document: &Document, console: &Console) -> bool {
    // Each, whatever became of those before it.
    reports.iter().filter(|report| !wrote(&report.target, report.write(document), console)).count() == 0
}

/// Fails if a file would be written over one that is read, over the log, or over another.
pub(super) fn distinct(targets: &[&Path], log: Option<&Path>, inputs: &[&Path]) -> anyhow::Result<()> {
    for path in targets.iter().copied().chain(log) {
        if inputs.iter().any(|input| is_same(input, path)) {
            return Err(anyhow!("{} is read and written: choose another file to write", shown(path)));
        }
    }
    for (index, path) in targets.iter().enumerate() {
        if log.is_some_and(|log| is_same(log, path)) {
            return Err(anyhow!("{} is the log file, too: choose another file", shown(path)));
        }
        if targets[..index].iter().any(|other| is_same(other, path)) {
            return Err(anyhow!("{} is named for two things", shown(path)));
        }
    }
    Ok(())
}

/// Whether all lines came to standard output. Says if they did not.
pub(super) fn printed(console: &Console) -> bool {
    let lost = console.lost();
    if let Some(error) = &lost {
        console.wrong(&format!("error: {NOT_PRINTED}: {error}"));
    }
    lost.is_none()
}

pub(super) fn report_files(paths: &[PathBuf]) -> anyhow::Result<Vec<ReportFile>> {
    Ok(paths.iter().map(|path| ReportFile::new(path)).collect::<Result<_, _>>()?)
}

fn wrote(target: &Target, result: io::Result<()>, console: &Console) -> bool {
    if let Err(error) = &result {
        console.wrong(&format!("error: {} cannot be written: {error}", shown(target.path())));
    }
    result.is_ok()
}
