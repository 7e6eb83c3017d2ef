//! The flags that say what images are to become on their way.

use clap::{Args, ValueEnum};

use crate::platform::Platform;
use crate::registry::Format;
use crate::transfer::Conversion;

#[derive(Debug, Args)]
pub(super) struct ConversionFlags {
    /// Keep only these platforms of an index; repeatable, or a list with commas. An image for another platform is
    /// skipped [default: all]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_delimiter = ',')]
    platform: Vec<Platform>,

    /// Media types of manifests at the destination, for registries that refuse the other kind. Digests change
    #[arg(long, value_name = "FORMAT", default_value = "keep")]
    format: FormatFlag,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatFlag {
    Keep,
    Docker,
    Oci,
}

impl ConversionFlags {
    pub fn conversion(&self) -> Conversion {
        let format = match self.format {
            FormatFlag::Keep => None,
            FormatFlag::Docker => Some(Format::Docker),
            FormatFlag::Oci => Some(Format::Oci),
        };
        Conversion { platforms: self.platform.clone(), format }
    }
}
