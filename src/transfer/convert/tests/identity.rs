//! What need not be changed is not touched, however it is written.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Members of a manifest that nobody knows, and space where JSON allows it.
fn odd() -> impl Strategy<Value = (String, String)> {
    let member = prop_oneof![
        Just(String::new()),
        "[a-z]{3,9}".prop_map(|name| format!(r#","x-{name}":{{"é":[1e3,1.0,"\u00e9"],"a":1,"a":2}}"#)),
        Just(r#","annotations":{"b":"1","a":"2"}"#.to_owned()),
    ];
    (member, "[ \\n\\t]{0,4}")
}

proptest! {
    #[test]
    fn an_index_that_fits_stays_byte_for_byte(children in vec((0_u8..4, odd()), 1..8), (more, space) in odd(), docker in any::<bool>()) {
        let own = if docker { Format::Docker } else { Format::Oci };
        let (mut shelf, architectures) = (Shelf::default(), ["amd64", "arm64", "s390x", "riscv64"]);
        let named: Vec<String> = children
            .iter()
            .map(|(kind, (more, space))| {
                let architecture = architectures[usize::from(*kind)];
                let child = shelf.image(own, "linux", architecture);
                format!("{space}{}", descriptor(&child, &format!("{more}{}", on("linux", architecture))))
            })
            .collect();
        let list = if docker { DOCKER_LIST } else { OCI_INDEX };
        let text = index(list, &named);
        let text = format!("{space}{}{more}{space}}}", text.strip_suffix('}').unwrap());
        let root = manifest(list, &text);
        let all = platforms(&["linux/amd64", "linux/arm64", "linux/s390x", "linux/riscv64"]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for conversion in [Conversion::default(), format(own), all] {
            let tree = runtime.block_on(placed(&conversion, &root, &shelf));
            prop_assert_eq!(&tree.root.bytes, &root.bytes);
            prop_assert_eq!(&tree.root.digest, &root.digest);
            prop_assert!(tree.changes.is_empty());
        }
    }
}
