//! Images: media types of one family for those of the other. The bytes of configurations and layers stay what they are.

use super::object::Object;
use super::{Conversion, Part, Refusal, written};
use crate::event::Change;
use crate::registry::{Content, Descriptor, Format, Manifest};

/// All that Docker's format has (Docker image manifest version 2, schema 2).
const DOCKER_IMAGE: [&str; 4] = ["schemaVersion", "mediaType", "config", "layers"];
const DOCKER_BLOB: [&str; 4] = ["mediaType", "size", "digest", "urls"];

impl Conversion {
    /// An image in the wanted format.
    pub(super) fn image(&self, image: Manifest) -> Result<Part, Refusal> {
        let Some(format) = self.format else { return Ok(Part::same(image, true)) };
        let is_other = Format::of_manifest(&image.media_type) != Some(format);
        match format {
            Format::Docker if is_other => docker_has_it(&image)?,
            // Whatever else is kept like an image is as good as one there.
            Format::Oci if format.manifest(&image.media_type).is_none() => return Ok(Part::same(image, true)),
            _ => {}
        }
        let malformed = |error: serde_json::Error| Refusal::malformed(&image.digest, error.to_string());
        let mut json: Object = serde_json::from_slice(&image.bytes).map_err(malformed)?;
        let mut lost = Vec::new();
        let mut is_changed = false;
        let mut rename = |blob: &mut Object, place: &str| {
            let text = serde_json::to_string(blob).map_err(malformed)?;
            let Descriptor { media_type, digest, is_foreign, .. } = serde_json::from_str(&text).map_err(malformed)?;
            match format.blob(&media_type, is_foreign) {
                Some(name) if name != media_type => {
                    blob.set("mediaType", &name).map_err(malformed)?;
                    is_changed = true;
                }
                None if is_other && format == Format::Docker => {
                    let reason = format!("names {digest} of type {media_type:?}, for which Docker has none");
                    return Err(Refusal::Format { format, digest: image.digest.clone(), reason });
                }
                _ => {}
            }
            if is_other && format == Format::Docker {
                lost.extend(blob.keep(&DOCKER_BLOB).into_iter().map(|name| format!("{place}.{name}")));
            }
            Ok(())
        };
        if let Some(mut config) = json.get::<Object>("config") {
            rename(&mut config, "config")?;
            json.set("config", &config).map_err(malformed)?;
        }
        if let Some(mut layers) = json.get::<Vec<Object>>("layers") {
            layers.iter_mut().try_for_each(|layer| rename(layer, "layers"))?;
            json.set("layers", &layers).map_err(malformed)?;
        }
        if !is_other && !is_changed {
            return Ok(Part::same(image, true));
        }
        let media_type = format.manifest(&image.media_type).unwrap_or(&image.media_type);
        if is_other {
            lost.extend(retype(&mut json, media_type, format, &DOCKER_IMAGE).map_err(malformed)?);
        }
        let made = written(&json, media_type, &image.digest)?;
        let change = Change::new(&image.digest, &made.digest, Vec::new(), lost);
        Ok(Part { changes: vec![change], ..Part::same(made, true) })
    }
}

/// Gives a manifest the type of the other family. Answers what was lost: Docker's manifests hold nothing but `fields`.
pub(super) fn retype(
    json: &mut Object,
    media_type: &str,
    format: Format,
    fields: &[&str],
) -> Result<Vec<String>, serde_json::Error> {
    json.set("schemaVersion", &2)?;
    json.set("mediaType", &media_type)?;
    Ok(if format == Format::Docker { json.keep(fields) } else { Vec::new() })
}

/// Whether Docker's format has what this manifest is.
pub(super) fn docker_has_it(manifest: &Manifest) -> Result<(), Refusal> {
    let refuse =
        |reason: String| Err(Refusal::Format { format: Format::Docker, digest: manifest.digest.clone(), reason });
    if Format::Docker.manifest(&manifest.media_type).is_none() {
        return refuse(format!("is of type {:?}, for which Docker has none", manifest.media_type));
    }
    let malformed = |error: serde_json::Error| Refusal::malformed(&manifest.digest, error.to_string());
    let json: Object = serde_json::from_slice(&manifest.bytes).map_err(malformed)?;
    if let Some(kind) = json.get::<String>("artifactType").filter(|kind| !kind.is_empty()) {
        return refuse(format!("is an artifact of type {kind:?}, and Docker has only images"));
    }
    if json.has("subject") {
        return refuse("refers to another one (subject), which Docker's manifests cannot".to_owned());
    }
    if let (Content::Blobs(_), None) = (&manifest.content, manifest.image_config()) {
        let kind = json.get::<Object>("config").and_then(|config| config.get::<String>("mediaType"));
        return refuse(format!(
            "has a configuration of type {:?}: it is an artifact, and Docker has only images",
            kind.unwrap_or_default()
        ));
    }
    Ok(())
}
