//! What manifests in a cluster call images.

use super::Image;
use crate::fuzz::assert_one_line;

pub fn image(text: &str) {
    match Image::parse(text) {
        Ok(image) => {
            let key = image.to_string();
            assert_one_line(&key);
            assert_eq!(Image::parse(&key), Ok(image), "{key}");
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}
