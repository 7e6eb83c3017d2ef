use super::*;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn images(texts: &[&str]) -> BTreeSet<Image> {
    texts.iter().map(|text| Image::parse(text).unwrap()).collect()
}

fn existing(text: &str) -> Existing {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.json");
    std::fs::write(&path, text).unwrap();
    Existing::read(&path).unwrap()
}

/// The plan for `-t t.io/n`, as "source -> destination, destination" without Docker Hub's host.
fn planned(texts: &[&str], earlier: &str) -> Vec<String> {
    let plan = plan(&images(texts), Some(&"t.io/n".parse().unwrap()), &existing(earlier));
    shown(&plan)
}

fn shown(plan: &Plan) -> Vec<String> {
    let line = |(source, destinations): (&String, &Vec<String>)| format!("{source} -> {}", destinations.join(", "));
    plan.rules.iter().map(line).map(|line| line.replace("docker.io/", "")).collect()
}

#[test]
fn the_last_component_is_enough_where_nothing_meets() {
    assert_eq!(
        planned(&["nginx:1", "nginx:2", "bitnami/redis:1", "quay.io/a/b/c:x"], "{}"),
        [
            "bitnami/redis:1 -> t.io/n/redis",
            "library/nginx:1 -> t.io/n/nginx",
            "library/nginx:2 -> t.io/n/nginx",
            "quay.io/a/b/c:x -> t.io/n/c"
        ]
    );
}

#[test]
fn only_those_that_meet_are_told_apart() {
    assert_eq!(
        planned(&["nginx:1", "bitnami/nginx:2", "redis:1"], "{}"),
        [
            "bitnami/nginx:2 -> t.io/n/bitnami-nginx",
            "library/nginx:1 -> t.io/n/library-nginx",
            "library/redis:1 -> t.io/n/redis"
        ]
    );
    assert_eq!(
        planned(&["quay.io/a/x:1", "ghcr.io/a/x:1", "ghcr.io:443/b/x:1"], "{}"),
        [
            "ghcr.io/a/x:1 -> t.io/n/ghcr.io-a-x",
            "ghcr.io:443/b/x:1 -> t.io/n/b-x",
            "quay.io/a/x:1 -> t.io/n/quay.io-a-x"
        ]
    );
}

#[test]
fn a_name_made_longer_gives_way_to_one_that_was_there_by_itself() {
    assert_eq!(
        planned(&["a/x:1", "b/x:1", "c/a-x:1"], "{}"),
        ["a/x:1 -> t.io/n/docker.io-a-x", "b/x:1 -> t.io/n/b-x", "c/a-x:1 -> t.io/n/a-x"]
    );
}

#[test]
fn what_is_the_same_even_with_its_host_gets_a_hash() {
    let lines = planned(&["q.io/a-b/c:1", "q.io/a/b/c:1", "q.io/a/b-c:1", "q.io/x/c:1", "q.io/x/b-c:1"], "{}");
    let destinations: BTreeSet<&str> = lines.iter().filter_map(|line| line.split(" -> ").nth(1)).collect();
    assert_eq!(destinations.len(), 5, "{lines:?}");
    assert!(
        lines[1].starts_with("q.io/a-b/c:1 -> t.io/n/c-") || lines[0].starts_with("q.io/a-b/c:1 -> t.io/n/c-"),
        "{lines:?}"
    );
}

#[test]
fn a_repository_without_parents_keeps_its_name() {
    assert_eq!(
        planned(&["quay.io/x:1", "quay.io/a/x:1"], "{}"),
        ["quay.io/a/x:1 -> t.io/n/a-x", "quay.io/x:1 -> t.io/n/x"]
    );
}

#[test]
fn targets_of_the_earlier_file_stay_and_newcomers_give_way() {
    let earlier = r#"{"docker.io/bitnami/nginx:1": "t.io/n/nginx", "docker.io/gone/redis:1": "t.io/n/redis"}"#;
    assert_eq!(
        planned(&["bitnami/nginx:1", "bitnami/nginx:2", "nginx:1", "redis:1"], earlier),
        [
            "bitnami/nginx:1 -> t.io/n/nginx",
            "bitnami/nginx:2 -> t.io/n/nginx",
            "library/nginx:1 -> t.io/n/library-nginx",
            "library/redis:1 -> t.io/n/library-redis"
        ]
    );
}

#[test]
fn targets_are_kept_as_they_are_written() {
    let earlier = r#"{"docker.io/library/a:1": ["x.io/y/a:one", "x.io/z/a"], "docker.io/library/b": "x.io/y/bee",
        "docker.io/library/c:1,2": "x.io/y/c:one,two", "docker.io/library/d:1": "", "docker.io/library/e:/^v/": "x.io/e"}"#;
    assert_eq!(
        planned(&["a:1", "b:7", "c:2", "d:1", "e:v1", "e:w1"], earlier),
        [
            "library/a:1 -> x.io/y/a:one, x.io/z/a",
            "library/b:7 -> x.io/y/bee",
            "library/c:2 -> x.io/y/c:two",
            "library/d:1 -> t.io/n/d",
            "library/e:v1 -> x.io/e",
            "library/e:w1 -> t.io/n/e"
        ]
    );
}

#[test]
fn two_sources_of_the_earlier_file_on_one_destination_are_parted() {
    let earlier = r#"{"docker.io/a/x:1": "t.io/n/x", "docker.io/b/x:1": "t.io/n/x:1", "docker.io/b/x:2": "t.io/n/x"}"#;
    let plan = plan(&images(&["a/x:1", "b/x:1", "b/x:2"]), Some(&"t.io/n".parse().unwrap()), &existing(earlier));
    let lines = shown(&plan);
    assert_eq!(lines[0], "a/x:1 -> t.io/n/x");
    assert!(lines[1].starts_with("b/x:1 -> t.io/n/x:1-"), "{lines:?}");
    assert_eq!(lines[2], "b/x:2 -> t.io/n/x");
    assert_eq!(plan.notes.len(), 2, "{:?}", plan.notes);
}

#[test]
fn a_pinned_image_keeps_its_tag_where_that_is_free() {
    let (pinned, other, bare) = (format!("a:1@{A}"), format!("b:1@{A}"), format!("c@{A}"));
    assert_eq!(
        planned(&[&pinned, "b:1", &other, &bare], "{}"),
        [
            format!("library/a:1@{A} -> t.io/n/a"),
            "library/b:1 -> t.io/n/b".to_owned(),
            format!("library/b:1@{A} -> t.io/n/b:1-aaaaaaaaaaaa"),
            format!("library/c@{A} -> t.io/n/c")
        ]
    );
    let second = format!("a:1@{B}");
    assert_eq!(planned(&[&pinned, &second], "{}")[1], format!("library/a:1@{B} -> t.io/n/a:1-bbbbbbbbbbbb"));
}

#[test]
fn what_is_at_the_target_already_is_left_out() {
    let plan = plan(&images(&["t.io/n/a:1", "t.io/m/b:1"]), Some(&"t.io/n".parse().unwrap()), &Existing::default());
    assert_eq!(shown(&plan), ["t.io/m/b:1 -> t.io/n/b"]);
    assert_eq!(plan.left_out.len(), 1);
}

#[test]
fn without_a_target_destinations_stay_open_and_meetings_are_told() {
    let plan = plan(&images(&["nginx:1", "bitnami/nginx:1", "bitnami/nginx:2"]), None, &Existing::default());
    assert_eq!(shown(&plan), ["bitnami/nginx:1 -> ", "bitnami/nginx:2 -> ", "library/nginx:1 -> "]);
    assert_eq!(plan.notes.len(), 1, "{:?}", plan.notes);
}

#[test]
fn a_newcomer_goes_to_the_target_wherever_others_of_its_repository_went() {
    let earlier = r#"{"docker.io/library/nginx:1": "old.io/x/nginx", "docker.io/bitnami/nginx:/^9/": "old.io/x/bn",
        "docker.io/library/redis:1": "old.io/x/redis", "docker.io/library/redis:2": "t.io/n/cache"}"#;
    let plan = plan(
        &images(&["nginx:1", "nginx:2", "bitnami/nginx:1", "bitnami/nginx:9", "redis:3"]),
        Some(&"t.io/n".parse().unwrap()),
        &existing(earlier),
    );
    assert_eq!(
        shown(&plan),
        [
            "bitnami/nginx:1 -> t.io/n/bitnami-nginx",
            "bitnami/nginx:9 -> old.io/x/bn",
            "library/nginx:1 -> old.io/x/nginx",
            "library/nginx:2 -> t.io/n/library-nginx",
            "library/redis:3 -> t.io/n/cache"
        ]
    );
    assert_eq!((plan.kept, plan.kept_elsewhere), (2, 2));
}

#[test]
fn what_the_cluster_runs_from_the_target_keeps_its_repository() {
    let lines = planned(&["t.io/n/nginx:1.25", "bitnami/nginx:1.25", "redis:1"], "{}");
    assert_eq!(lines, ["bitnami/nginx:1.25 -> t.io/n/bitnami-nginx", "library/redis:1 -> t.io/n/redis"]);
    // Unless the earlier file tells whose it is.
    let earlier = r#"{"docker.io/library/nginx:1.25": "t.io/n/nginx"}"#;
    assert_eq!(
        planned(&["t.io/n/nginx:1.25", "bitnami/nginx:1.25", "nginx:1.26"], earlier),
        ["bitnami/nginx:1.25 -> t.io/n/bitnami-nginx", "library/nginx:1.26 -> t.io/n/nginx"]
    );
    // By its hash a name is that of one repository alone.
    let taken = ["t.io/n/a", "t.io/n/a:2", "t.io/n/x-a", "t.io/n/q.io-x-a", "q.io/x/a:1"];
    let lines = planned(&taken, "{}");
    assert!(lines[0].starts_with("q.io/x/a:1 -> t.io/n/a-"), "{lines:?}");
}

#[test]
fn a_tag_to_which_something_went_is_no_newcomers_also_when_its_source_is_not_used_any_more() {
    let earlier = r#"{"quay.io/a/c:1": "t.io/n/c:stable", "quay.io/a/d:1": "t.io/n/d"}"#;
    let lines = planned(&["quay.io/a/c:stable", "quay.io/a/c:2", &format!("quay.io/a/d:1@{A}")], earlier);
    assert_eq!(lines[0], "quay.io/a/c:2 -> t.io/n/c");
    assert!(lines[1].starts_with("quay.io/a/c:stable -> t.io/n/c:stable-"), "{lines:?}");
    assert_eq!(lines[2], format!("quay.io/a/d:1@{A} -> t.io/n/d"), "the same tag, as it is now");
}

#[test]
fn a_name_is_said_to_be_longer_only_where_it_is() {
    let notes = |texts: &[&str]| plan(&images(texts), Some(&"t.io/n".parse().unwrap()), &Existing::default()).notes;
    let longer = notes(&["quay.io/x:1", "quay.io/a/x:1"]);
    assert_eq!(longer, ["quay.io/a/x goes to t.io/n/a-x: its last part alone would meet another repository"]);
    let used = notes(&["t.io/n/x:1", "quay.io/a/x:1"]);
    assert_eq!(used, ["quay.io/a/x goes to t.io/n/a-x: the cluster uses t.io/n/x already, and that may be another's"]);
}
