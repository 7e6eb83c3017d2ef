use super::*;

fn parse(text: impl Into<Vec<u8>>) -> Document {
    Document::parse("x.json", text.into()).unwrap_or_else(|error| panic!("{error}"))
}

/// The error without the file's name.
fn error(text: impl Into<Vec<u8>>) -> String {
    let error = Document::parse("x.json", text.into()).map(|_| "no error").unwrap_err().to_string();
    error.strip_prefix("x.json:").unwrap().to_owned()
}

#[test]
fn members_keep_their_order_and_repeated_keys_and_know_their_places() {
    let document = parse("{ \"b\": 1,\n  \"a\": [true, \"é\", \"x\"],\n  \"b\": {} }");
    let members = document.root().members("").unwrap();
    let shown: Vec<_> = members.iter().map(|m| format!("{} {} {}", m.place(), m.name, m.value.place())).collect();
    assert_eq!(shown, ["x.json:1:3 b x.json:1:8", "x.json:2:3 a x.json:2:8", "x.json:3:3 b x.json:3:8"]);
    let elements = members[1].value.elements("").unwrap();
    let places: Vec<_> = elements.iter().map(|e| e.place().to_string()).collect();
    assert_eq!(places, ["x.json:2:9", "x.json:2:15", "x.json:2:20"]);
    assert!(elements[0].boolean("").unwrap());
    assert_eq!(elements[1].string("").unwrap(), "é");
}

#[test]
fn a_byte_order_mark_is_accepted_and_not_counted() {
    let document = parse("\u{feff}{\"a\": 1}");
    assert_eq!(document.root().members("").unwrap()[0].place().to_string(), "x.json:1:2");
    assert_eq!(error("\u{feff}{\"a\" 1}"), "1:6: found other text, expected `:` and a value");
}

#[test]
fn a_wrong_type_is_named() {
    let document = parse(r#"[1, -1, "a", true, false, null, [], {}]"#);
    let found: Vec<_> = document.root().elements("").unwrap().iter().map(|value| value.kind()).collect();
    use Kind::*;
    assert_eq!(found, [Number, Number, String, Boolean, Boolean, Null, Array, Object]);
    let error = document.root().members("an object").err().unwrap().to_string();
    assert_eq!(error, "x.json:1:1: found an array, expected an object");
}

#[test]
fn punctuation_that_is_missing_or_wrong_is_named_with_its_place() {
    for (text, expected) in [
        ("{\n  \"a\": \"b\"\n  \"c\": \"d\"\n}", "3:3: found `\"`, expected `,` or `}`"),
        ("{\"a\": \"b\" : 1}", "1:11: found `:`, expected `,` or `}`"),
        ("[1 2]", "1:4: found other text, expected `,` or `]`"),
        ("{\"a\" \"b\"}", "1:6: found `\"`, expected `:` and a value"),
        ("{'a': 1}", "1:2: found `'`, expected a key in double quotes"),
        ("{a: 1}", "1:2: found other text, expected a key in double quotes"),
        ("{\"é\": “b”}", "1:7: found `“`, expected a value"),
        ("{\"a\": }", "1:7: found `}`, expected a value"),
        ("{\"a\": nul}", "1:10: found `}`, expected a value"),
        ("{\"a\": True}", "1:7: found other text, expected a value"),
        ("{\"a\": 01}", "1:8: found other text, expected a number as JSON writes it"),
        ("{} {}", "1:4: found `{`, expected the end of the file"),
        ("{}}", "1:3: found `}`, expected the end of the file"),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn a_trailing_comma_is_recognised() {
    let object = "{\n  \"a\": 1,\n}";
    assert_eq!(error(object), "3:1: found `}`, expected another entry; JSON has no comma after the last entry");
    assert_eq!(error("[1, ]"), "1:5: found `]`, expected another entry; JSON has no comma after the last entry");
}

#[test]
fn a_comment_is_recognised() {
    for (text, expected) in [
        ("// x\n{}", "1:1: found `/`, expected a value; JSON has no comments"),
        ("{\n  /* x */\n}", "2:3: found `/`, expected a key in double quotes; JSON has no comments"),
        ("{\"a\": 1, // x\n}", "1:10: found `/`, expected a key in double quotes; JSON has no comments"),
        ("{\"a\": 1 # x\n}", "1:9: found `#`, expected `,` or `}`; JSON has no comments"),
        ("{}\n# x", "2:1: found `#`, expected the end of the file; JSON has no comments"),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn yaml_is_recognised() {
    let yaml = "expected a value; it has to be JSON, not YAML";
    assert_eq!(error("quay.io/a/b: quay.io/c/d\n"), format!("1:1: found other text, {yaml}"));
    let number = "expected a number as JSON writes it; it has to be JSON, not YAML";
    assert_eq!(error("---\nquay.io/a: quay.io/b\n"), format!("1:2: found other text, {number}"));
}

#[test]
fn a_file_that_ends_too_early_is_told_what_is_missing() {
    for (text, expected) in [
        ("", "1:1: found an empty file, expected a JSON object"),
        (" \n", "1:1: found an empty file, expected a JSON object"),
        ("\u{feff}", "1:1: found an empty file, expected a JSON object"),
        ("{\n  \"a\": 1\n", "2:9: found the end of the file, expected `}`"),
        ("{\"a\": [1", "1:9: found the end of the file, expected `]`"),
        ("{\"a\":", "1:6: found the end of the file, expected a value"),
        ("{\"a", "1:4: found the end of the file, expected `\"`, the end of the string"),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn strings_that_are_none_are_explained() {
    assert_eq!(error("{\"a: 1,\n}"), "1:8: found the end of the line, expected `\"`, the end of the string");
    assert_eq!(error("{\"a\": \"\t\"}"), "1:8: found a control character, expected `\"`, the end of the string");
    assert_eq!(
        error(r#"{"a:/v\d+/": ""}"#),
        r"1:7: found a backslash with no meaning in JSON, expected `\\` for a backslash"
    );
    let document = parse(r#"{"a": "x\ud800"}"#);
    let value = document.root().members("").unwrap()[0].value;
    assert_eq!(
        value.string("").unwrap_err().to_string(),
        r"x.json:1:9: found a backslash with no meaning in JSON, expected a character; beyond U+FFFF it is two `\u` escapes"
    );
}

#[test]
fn what_is_not_utf8_is_refused_where_it_stands() {
    assert_eq!(error(b"{\n\"\xc3\xa9\xff\"}".to_vec()), "2:3: found bytes that are not UTF-8, expected UTF-8 text");
    assert_eq!(error(b"\xff\xfe{\0}\0".to_vec()), "1:1: found UTF-16, expected UTF-8 text");
}

#[test]
fn errors_show_no_content() {
    for text in [r#"{"password": hunter2}"#, r#"{"password": "hunter"2"}"#, r#"{"password": "hunter\2"}"#] {
        let error = error(text);
        assert!(!error.contains("hunter") && !error.contains("`2`") && !error.contains("`h`"), "{error}");
    }
}

#[test]
fn every_broken_text_is_explained_within_itself() {
    let sound = "{\n \"é\": [\"“\\u00e9\\n\", -1.5e3, true, null, {}],\r\n \"b\": \"ü\"}";
    for (offset, character) in sound.char_indices() {
        let (before, after) = (&sound[..offset], &sound[offset + character.len_utf8()..]);
        for put in ["", "é", "\\", "\"", "\n", "\u{85}", "{", "]", ",", ":", "0", "-", "\\ud800"] {
            for text in [format!("{before}{put}{after}"), format!("{before}{put}")] {
                let Err(error) = Document::parse("x.json", text.clone().into()) else { continue };
                let line = text.split('\n').nth(error.place.line - 1).expect(&text);
                assert!(error.place.column <= line.chars().count() + 1, "{text:?}: {error}");
            }
        }
    }
    assert_eq!(error("{\"é\n"), "1:4: found the end of the line, expected `\"`, the end of the string");
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let depth = 1_000_000;
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    let document = parse(deep);
    let value = document.root().members("").unwrap()[0].value;
    assert_eq!(value.elements("").unwrap()[0].kind(), Kind::Array);
    assert_eq!(error("[".repeat(depth)), format!("1:{}: found the end of the file, expected `]`", depth + 1));
}
