//! Files that say how to get into a cluster.

use super::*;
use crate::fuzz::assert_one_line;

/// With what each secret of an input begins. Nothing else in it does.
const SECRET: &str = "s3cret";

pub fn kubeconfig(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let config = match Kubeconfig::from_yaml(text) {
        Ok(config) => config,
        Err(error) => {
            let told = unreadable(Path::new("config"), &error).to_string();
            assert_one_line(&told);
            assert!(told.len() < 2_000, "{} bytes", told.len());
            // Where it stands cannot be known of what cannot be read: none of it is told.
            return assert!(!told.contains(SECRET), "{told:?} tells a secret");
        }
    };
    let contexts = config.contexts.iter().map(|context| Some(context.name.as_str()));
    for context in contexts.take(8).chain([None, Some("nowhere")]) {
        match select(&config, context) {
            Ok(chosen) => {
                assert!(context.is_none_or(|context| context == chosen.context));
                assert!(config.clusters.iter().any(|known| known.name == chosen.cluster_name));
            }
            Err(error) => assert_one_line(&error.to_string()),
        }
    }
}
