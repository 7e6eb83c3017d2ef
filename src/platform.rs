//! Platforms: what an image runs on (OCI image-spec, `image-index.md`, "platform").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest part of a platform that is shown.
const LONGEST: usize = 32;

/// An operating system and an architecture, as an index or a configuration names them. Versions and features of the
/// system (`os.version`, `os.features`) are not looked at: `windows/amd64` is every Windows on that architecture.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Platform {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub architecture: String,
    /// `v8` in `linux/arm64/v8`; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// Why a text names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}: expected OS/ARCH or OS/ARCH/VARIANT, such as linux/amd64 or linux/arm/v7")]
pub struct InvalidPlatform(String);

impl Platform {
    /// Whether this is one that was asked for: `asked` leaves open what it does not name, so that `linux/arm` is every
    /// variant of it. A platform without a variant has the one that its architecture has by habit: `linux/arm64` is
    /// `linux/arm64/v8`, `linux/arm` is `linux/arm/v7`, `linux/amd64` is `linux/amd64/v1`.
    pub fn is_one_of(&self, asked: &[Self]) -> bool {
        let own = self.normalized();
        asked.iter().map(Self::normalized).any(|asked| {
            own.os == asked.os
                && own.architecture == asked.architecture
                && (asked.variant.is_empty() || own.variant_or_usual() == asked.variant_or_usual())
        })
    }

    /// Whether it says that it is not known: so say attestations, which run nowhere.
    pub fn is_unknown(&self) -> bool {
        [&self.os, &self.architecture].iter().any(|name| name.is_empty() || *name == "unknown")
    }

    /// In the names that Go has for them, as the specification wants, whatever those of `uname` are.
    fn normalized(&self) -> Self {
        let Self { os, architecture, variant } = self;
        let (os, mut variant) = (os.to_ascii_lowercase(), variant.to_ascii_lowercase());
        let architecture = architecture.to_ascii_lowercase();
        if variant.starts_with(|c: char| c.is_ascii_digit()) {
            variant.insert(0, 'v');
        }
        let or = |usual: &str| if variant.is_empty() { usual.to_owned() } else { variant.clone() };
        let (architecture, variant) = match architecture.as_str() {
            "x86_64" | "x86-64" => ("amd64", variant),
            "aarch64" => ("arm64", variant),
            "armhf" | "armv7l" => ("arm", or("v7")),
            "armel" | "armv6l" => ("arm", or("v6")),
            "i386" | "i686" => ("386", variant),
            other => (other, variant),
        };
        Self { os, architecture: architecture.to_owned(), variant }
    }

    fn variant_or_usual(&self) -> &str {
        match (self.variant.as_str(), self.architecture.as_str()) {
            ("", "amd64") => "v1",
            ("", "arm") => "v7",
            ("", "arm64") => "v8",
            (variant, _) => variant,
        }
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let invalid = || InvalidPlatform(text.to_owned());
        let is_name = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(is_name) {
            return Err(invalid());
        }
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, ""),
            [os, architecture, variant] => (os, architecture, variant),
            _ => return Err(invalid()),
        };
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.to_owned() }.normalized())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In an index anything may stand: nothing that a terminal would obey is shown, nor more than names something.
        let shown = |name: &str| name.chars().filter(char::is_ascii_graphic).take(LONGEST).collect::<String>();
        write!(f, "{}/{}", shown(&self.os), shown(&self.architecture))?;
        if !self.variant.is_empty() {
            write!(f, "/{}", shown(&self.variant))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    /// As it stands in an index, where anything may stand.
    fn found(text: &str) -> Platform {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        Platform { os: part(), architecture: part(), variant: part() }
    }

    #[test]
    fn what_is_asked_for_is_written_as_in_an_index() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm64/8", "linux/arm64/v8"),
        ] {
            assert_eq!(platform(text).to_string(), shown);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/amd64/", "linux/arm/v7/x", "linux/amd 64", "linux/*"] {
            assert_eq!(text.parse::<Platform>(), Err(InvalidPlatform(text.to_owned())));
        }
    }

    #[test]
    fn a_variant_that_nobody_names_is_the_usual_one() {
        let is = |found_text: &str, asked: &str| found(found_text).is_one_of(&[platform(asked)]);
        assert!(is("linux/arm64", "linux/arm64/v8") && is("linux/arm64/v8", "linux/arm64"));
        assert!(is("linux/arm64/8", "linux/arm64/v8"));
        assert!(is("linux/arm", "linux/arm/v7") && is("linux/amd64", "linux/amd64/v1"));
        assert!(is("linux/x86_64", "linux/amd64"));
        assert!(!is("linux/arm", "linux/arm/v6") && !is("linux/arm/v6", "linux/arm/v7"));
        assert!(!is("linux/amd64/v3", "linux/amd64/v1") && !is("linux/arm64/v9", "linux/arm64/v8"));
    }

    #[test]
    fn what_is_not_asked_for_is_left_open() {
        let is = |found_text: &str, asked: &str| found(found_text).is_one_of(&[platform(asked)]);
        assert!(is("linux/arm/v5", "linux/arm") && is("linux/amd64/v3", "linux/amd64"));
        assert!(!is("linux/amd64", "windows/amd64") && !is("linux/386", "linux/amd64"));
        assert!(found("linux/s390x").is_one_of(&[platform("linux/amd64"), platform("linux/s390x")]));
        assert!(!found("linux/s390x").is_one_of(&[]));
    }

    #[test]
    fn attestations_run_nowhere() {
        assert!(
            found("unknown/unknown").is_unknown() && found("").is_unknown() && !found("linux/riscv64").is_unknown()
        );
    }
}
