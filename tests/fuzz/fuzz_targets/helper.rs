#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| image_migrator::fuzz::helper(data));
