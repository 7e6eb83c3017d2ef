mod charts;
mod ci;

use crate::rewrite::moves::Choice;
use crate::rewrite::tests::{assert_changes, moves, rewrite, rules};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn manifests_of_kubernetes() {
    let stays = assert_changes(
        "pod.yaml",
        &rules(),
        r#"# image: nginx:1 in a comment stays
spec:
  initContainers: [{name: a, image: ⟦nginx→d.io/web/nginx⟧}, {"image":"⟦quay.io/a/b:1→d.io/m/b:1⟧"}]
  containers:
  - name: nginx
    image:   "⟦nginx:1.25→d.io/web/nginx:1.25⟧"   # nginx:1.25
    args: [--sidecar=⟦quay.io/a/b:2→d.io/m/b:2⟧, nginx:1.25]
  - image: '⟦docker.io/bitnami/redis:7→d.io/x/y/redis:7⟧'
    env: [{name: IMAGE, value: "⟦quay.io/a/b:3→d.io/m/b:3⟧"}]
  - image: ⟦postgres:15→d.io/db/pg:1.15⟧
  - image: ⟦busybox→d.io/m/bb:stable⟧
  - image: postgres:17
  - image: library/other
---
data:
  pod.yaml: |
    # image: nginx:1
    image: ⟦nginx:1→d.io/web/nginx:1⟧
    command: [nginx:1, ⟦quay.io/a/b:1→d.io/m/b:1⟧]
image: >-
  ⟦nginx→d.io/web/nginx⟧
quay.io/a/b:1: a key stays
"#,
    );
    assert_eq!(stays, ["postgres:17: no rule covers it"]);
}

#[test]
fn json_is_yaml() {
    assert_changes(
        "pod.json",
        &rules(),
        "{\n\t\"image\": \"⟦nginx:1→d.io/web/nginx:1⟧\",\n\t\"x\": [\"⟦quay.io/a/b:1→d.io/m/b:1⟧\"]\n}\n",
    );
}

#[test]
fn an_image_that_is_written_with_escapes_is_told() {
    let text = r#"[{"image":"quay.io\/a\/b:1"}, {"image": "quay.io/a/b:1\x31"}, {"image": "quay.io\/other:1"}]"#;
    assert_eq!(
        assert_changes("a.json", &rules(), text),
        [
            "quay.io/a/b:1: it is written with escapes; d.io/m/b:1 is where it is now",
            "quay.io/a/b:11: it is written with escapes; d.io/m/b:11 is where it is now",
        ]
    );
}

#[test]
fn digests_stay_with_what_they_name() {
    let rules = rules();
    let text = format!(
        "- image: quay.io/a/b:1@{DIGEST}\n- image: ⟦quay.io/g/h→d.io/m/h⟧@{DIGEST}\n- image: \
         ⟦quay.io/g/h:v1→d.io/m/h:kept⟧@{DIGEST}\n- image: quay.io/a/b@{DIGEST}\n- image: quay.io/g/h@{}\n",
        DIGEST.replace("e3b0", "0000")
    );
    assert_eq!(
        assert_changes("a.yaml", &rules, &text),
        [
            // The tag may have been built anew since.
            format!("quay.io/a/b:1@{DIGEST}: its tag may name another digest by now; --report tells what was copied"),
            format!(
                "quay.io/a/b@{DIGEST}: the rules bring tags, and which of them has this digest is not known here; \
                 --report tells what was copied"
            ),
            format!("quay.io/g/h@{}: no rule covers it", DIGEST.replace("e3b0", "0000")),
        ]
    );
}

#[test]
fn a_migrated_repository_is_named_where_nothing_says_that_it_is_an_image() {
    let text = "image_name: quay.io/a/b\nparameters: [{name: image.repository, value: quay.io/a/b}]\nurl: https://quay.io/a/b\n\
                new: [d.io/m/b, quay.io/x/y, nginx, bitnami/redis]\n";
    let stays = assert_changes("values.yaml", &rules(), text);
    let unclear = "quay.io/a/b: its tag is not written here, and nothing says that it is an image";
    assert_eq!(stays, [unclear, unclear]);
}

#[test]
fn a_repository_of_an_action_is_source_code() {
    let text = "steps:\n- uses: some/downloader@v1\n  with: {repository: bitnami/redis, tag: v1}\n- with:\n    owner: nginx\n    \
                repo: nginx\n    tag: v1\n- with: {registry: ⟦docker.io→d.io⟧, repository: ⟦bitnami/redis→x/y/redis⟧, tag: v1}\n";
    assert_eq!(assert_changes(".github/workflows/a.yml", &rules(), text), [""; 0]);
}

#[test]
fn files_within_files_are_read_as_what_they_are() {
    let stays = assert_changes(
        "application.yaml",
        &rules(),
        r#"values: |
  image:
    repository: ⟦bitnami/redis→d.io/x/y/redis⟧ # nginx:1
    tag: "7"
  é: {registry: ⟦quay.io→d.io⟧, repository: ⟦a/b→m/b⟧, tag: {{ .x }}}
  nested.json: |-
    {"image": "⟦nginx→d.io/web/nginx⟧"}
items:
- &a !!str |-  # x

    - image: &i ⟦nginx:1→d.io/web/nginx:1⟧
    - image: *i
- |
  docker run nginx:1 ⟦quay.io/a/b:1→d.io/m/b:1⟧
    image: ⟦nginx→d.io/web/nginx⟧
  # image: nginx
- >
  repository: nginx
  tag: 1
- |
  a: 1
  ---
  repository: bitnami/redis
  tag: 1
"#,
    );
    let unknown = "what is around it is not YAML, so its other fields are not known";
    assert_eq!(stays, [format!("nginx: {unknown}"), format!("bitnami/redis: {unknown}")]);
}

#[test]
fn anchors_are_followed_to_images_and_parts_that_are_shared_stay() {
    let stays = assert_changes(
        "a.yaml",
        &rules(),
        "x-web: &web ⟦nginx:1→d.io/web/nginx:1⟧\na: {image: *web}\nb: &b {image: &i ⟦nginx:2→d.io/web/nginx:2⟧}\nc: {image: *i, <<: *b}\nd: \
         {registry: &r quay.io, repository: a/b, tag: 1}\ne: {registry: *r, repository: other/b, tag: 1}\n",
    );
    assert_eq!(
        stays,
        ["quay.io/a/b:1: what it is made of is used elsewhere, too, or comes from there; d.io/m/b is where it is now"]
    );
}

#[test]
fn files_of_compose() {
    let stays = assert_changes(
        "compose.yaml",
        &rules(),
        "services:\n  web:\n    image: ⟦nginx→d.io/web/nginx⟧:${TAG:-1}\n  nginx:\n    image: ⟦bitnami/redis:7→d.io/x/y/redis:7⟧\n  db:\n    \
         image: postgres:${PG}\n  other:\n    image: ${REGISTRY}/nginx:1\n  \
         a: {image: \"${A:-⟦bitnami/redis:7→d.io/x/y/redis:7⟧}\"}\n  b:\n    image: ${B-⟦nginx→d.io/web/nginx⟧}\n  \
         c:\n    image: ${C:-${D:-⟦quay.io/a/b:1→d.io/m/b:1⟧}}\n    command: [\"${E:-⟦quay.io/a/b:1→d.io/m/b:1⟧}\"]\n",
    );
    assert_eq!(stays, ["postgres:${PG}: its tag is not written here, and no rule brings every tag"]);
}

#[test]
fn an_image_that_variables_are_parts_of_is_rewritten_or_told() {
    let stays = assert_changes(
        "compose.yaml",
        &rules(),
        "a: {image: \"${A:-quay.io}/a/b:${T:-1}\"}\nb: {image: \"${A-docker.io/library}/postgres:15\"}\nc: {image: \"${A:-⟦nginx→d.io/web/nginx⟧}:${T:-1}\"}\n\
         d: {image: \"nginx${SUFFIX:-}:1\"}\ne: {image: \"${A:-quay.io}/c/d:${T}\"}\nf: {image: \"${A:-quay.io}/x/y:1\"}\n\
         g: {image: \"${A}/a/b:1\"}\nh: {image: \"${A:-}nginx:1\"}\n",
    );
    let elsewhere = "what it is made of is used elsewhere, too, or comes from there; ";
    assert_eq!(
        stays,
        [
            format!("quay.io/a/b:1: {elsewhere}d.io/m/b:1 is where it is now"),
            format!("docker.io/library/postgres:15: {elsewhere}d.io/db/pg:1.15 is where it is now"),
            format!("nginx:1: {elsewhere}d.io/web/nginx:1 is where it is now"),
            "quay.io/c/d:${T}: its tag is not written here, and no rule brings every tag".to_owned(),
            format!("nginx:1: {elsewhere}d.io/web/nginx:1 is where it is now"),
        ]
    );
}

#[test]
fn a_registry_in_a_variable_is_replaced_where_the_path_stays() {
    let moves = moves(r#"{"quay.io/a/b": "d.io/a/b", "quay.io/a/c": "d.io/m/a/c"}"#, Choice::default());
    let text = "a: {image: \"${R:-⟦quay.io→d.io⟧}/a/b:${T:-1}\"}\nb: {image: \"${R:-⟦quay.io/a→d.io/a⟧}/b:${T}\"}\n\
                c: {image: \"${R:-⟦quay.io→d.io/m⟧}/a/c\"}\nd: {image: \"${R:-quay.io}/a/b${S:-}:1\"}\ne: {image: \"quay.io/${P:-a/b}:1\"}\n";
    let elsewhere = "what it is made of is used elsewhere, too, or comes from there; ";
    let stays = ["d.io/a/b:1"; 2].map(|to| format!("quay.io/a/b:1: {elsewhere}{to} is where it is now"));
    assert_eq!(assert_changes("compose.yaml", &moves, text), stays);
    let text = "ARG REGISTRY=⟦quay.io→d.io⟧\nFROM ${REGISTRY}/a/b:1\nFROM $REGISTRY/a/b:2\n";
    assert_eq!(assert_changes("Dockerfile", &moves, text), [""; 0]);
    // Both cannot be had.
    let text = "ARG REGISTRY=quay.io\nFROM ${REGISTRY}/a/b:1\nFROM ${REGISTRY}/a/c:2\n";
    assert_eq!(assert_changes("Dockerfile", &moves, text).len(), 2);
    let text = "ARG REGISTRY=quay.io\nFROM ${REGISTRY}/a/b:1\nARG REGISTRY\n";
    assert_eq!(assert_changes("Dockerfile", &moves, text).len(), 1);
}

#[test]
fn what_is_rewritten_is_not_said_to_stay() {
    let text = "a: ⟦quay.io/a/b:1→d.io/m/b:1⟧ $X\nb: [\"⟦quay.io/a/b:1→d.io/m/b:1⟧ --x={{ .x }}\"]\nc: |\n  docker run \\\n    ⟦quay.io/a/b:1→d.io/m/b:1⟧ $X\n";
    assert_eq!(assert_changes("a.yaml", &rules(), text), [""; 0]);
}

#[test]
fn what_compose_builds() {
    let stays = assert_changes(
        "compose.yaml",
        &rules(),
        "services:\n  a:\n    build:\n      args:\n      - BASE_IMAGE=⟦nginx:1→d.io/web/nginx:1⟧\n      - \"OTHER_IMAGE=${X:-⟦nginx→d.io/web/nginx⟧}\"\n      - \
         X=nginx:1\n      dockerfile_inline: |\n        # syntax=⟦quay.io/a/b:1→d.io/m/b:1⟧\n        FROM ⟦nginx:1→d.io/web/nginx:1⟧ AS nginx\n        FROM nginx\n        COPY \
         --from=postgres:17 /x /é\n  b: {build: {args: {BASE_IMAGE: ⟦nginx→d.io/web/nginx⟧}, dockerfile_inline: FROM nginx}}\n",
    );
    assert_eq!(stays, ["postgres:17: no rule covers it"]);
}

#[test]
fn images_in_templates_are_found_whether_these_are_yaml_or_not() {
    let stays = assert_changes(
        "templates/deployment.yaml",
        &rules(),
        "{{- if .Values.x }}\nspec:\n  {{- range .y }}\n  - image: ⟦nginx:1→d.io/web/nginx:1⟧ # x\n  - image: \"⟦nginx→d.io/web/nginx⟧:{{ .tag }}\"\n  - image: \"{{ .image }}:1\"\n  - image: postgres:{{ .pg }}\n  # image: nginx:1\n  {{- end }}\n  args: {{ .a | toYaml }}\n  x: ⟦quay.io/a/b:1→d.io/m/b:1⟧\n{{- end }}\n",
    );
    assert_eq!(stays, ["postgres:{{ .pg }}: its tag is not written here, and no rule brings every tag"]);
    // Also where not even that is YAML.
    assert_changes(
        "a.tpl",
        &rules(),
        "a: b: c\n  image: ⟦nginx:1→d.io/web/nginx:1⟧\n\t- image: '⟦nginx→d.io/web/nginx⟧'\n# image: nginx\n# initImage: nginx\n\
         see base-image: nginx\n",
    );
    let text = "x:\n\ty: 1\nimage:\n  repository: bitnami/redis\n  tag: 7\nb: {x}\n  registry: quay.io\n  repository: 'a/b' # x\n\
                repository: redis\n# repository: bitnami/redis\nrepository: {{ .x }}\nrepository: ⟦quay.io/a/b:1→d.io/m/b:1⟧\n";
    let unknown = "what is around it is not YAML, so its other fields are not known";
    assert_eq!(
        assert_changes("values.yaml", &rules(), text),
        [format!("bitnami/redis: {unknown}"), format!("a/b: {unknown}")]
    );
}

#[test]
fn what_stands_in_actions_of_templates_is_read_but_for_comments() {
    let stays = assert_changes(
        "templates/_helpers.tpl",
        &rules(),
        "{{- define \"image\" -}}\n{{- default \"⟦quay.io/a/b:1→d.io/m/b:1⟧\" .Values.image -}}\n{{- end }}\n\
         {{/* Like {{ include \"image\" . }} of quay.io/a/b:1 */}}\n{{- /* quay.io/a/b:1 */ -}}\n\
         {{- $image := .Values.image | default \"⟦quay.io/a/b:1→d.io/m/b:1⟧\" }}\nimage: {{ default \"⟦quay.io/a/b:1→d.io/m/b:1⟧\" .x }}\n\
         data:\n  x.yaml: |\n    a: 1\n    {{- $i := \"⟦quay.io/a/b:1→d.io/m/b:1⟧\" }}\n    image: ⟦nginx→d.io/web/nginx⟧\n\
         {{- $i := printf \"quay.io/a/b:%s\" .tag }}\n{{- $i := printf \"%s:%s\" \"quay.io/a/b\" .tag }}\n",
    );
    let unclear = "quay.io/a/b: its tag is not written here, and nothing says that it is an image";
    assert_eq!(stays, [unclear, unclear]);
}

#[test]
fn images_of_kustomize_in_an_application_replace_what_keeps_its_name() {
    let text = "spec:\n  source:\n    kustomize:\n      images:\n\
                \x20     - ⟦nginx:1→nginx=d.io/web/nginx:1\n      - d.io/web/nginx:1⟧\n\
                \x20     - \"⟦postgres:15→postgres=d.io/db/pg:1.15\"\n      - \"d.io/db/pg:1.15⟧\"\n\
                \x20     - app=⟦nginx:1→d.io/web/nginx:1⟧\n      - other=postgres:17\n";
    assert_eq!(assert_changes("app.yaml", &rules(), text), ["postgres:17: no rule covers it"]);
    let text = "kustomize: {images: [⟦nginx:1→nginx=d.io/web/nginx:1, d.io/web/nginx:1⟧, a=b:1]}\n";
    assert_changes("app.yaml", &rules(), text);
    let text = "- {kustomize: {images: [⟦nginx:1→nginx=d.io/web/nginx:1, d.io/web/nginx:1⟧]}}\n";
    assert_changes("app.yaml", &rules(), text);
    let text = "kustomize:\n  images:\n  - &web ⟦nginx:1→nginx=d.io/web/nginx:1\n  - d.io/web/nginx:1⟧\n";
    assert_changes("app.yaml", &rules(), text);
}

#[test]
fn a_word_begins_behind_an_escape() {
    let text = r#"{"images": "⟦quay.io/a/b:1→d.io/m/b:1⟧\n⟦quay.io/a/b:2→d.io/m/b:2⟧\t⟦quay.io/a/b:3→d.io/m/b:3⟧\\nquay.io/a/b:4"}"#;
    assert_changes("a.json", &rules(), text);
}

#[test]
fn what_went_to_several_places_is_asked_for() {
    let images =
        r#"{"quay.io/a/b": ["d.io/east/b", "e.io/west/b"], "quay.io/c/d:1": ["d.io/east/d:1", "d.io/east/d:x"]}"#;
    let text = "- image: quay.io/a/b:1\n- image: quay.io/c/d:1\n";
    let rewritten = rewrite("a.yaml", text, &moves(images, Choice::default()));
    assert_eq!(rewritten.several, ["quay.io/a/b:1"]);
    let chosen = Choice { to: Some("e.io/west".parse().unwrap()), ..Choice::default() };
    let rewritten = rewrite("a.yaml", text, &moves(images, chosen));
    assert_eq!(
        (rewritten.several.len(), rewritten.text.as_str()),
        (0, "- image: e.io/west/b:1\n- image: d.io/east/d:1\n")
    );
}

#[test]
fn a_value_that_is_not_there_is_added_only_where_it_is_clear_where() {
    let values = "image:\n  registry:⟦→ d.io⟧ # none\n  repository: ⟦bitnami/redis→x/y/redis⟧\n  tag: 7\n";
    assert_changes("values.yaml", &rules(), values);
    for text in [
        "image:\n  repository: nginx\n  tag: 1\n  ? registry",
        "image:\n  repository: nginx\n  ? registry\n  tag: 1\n",
        "image: {registry, repository: nginx, tag: 1}",
        "image: {repository: nginx, tag: 1, registry}\nport: 1\n",
        "image:\n  repository: nginx\n  tag: 1\n  registry: !!str\n",
    ] {
        let stays = assert_changes("values.yaml", &rules(), text);
        assert_eq!(stays.len(), 1, "{text}: {stays:?}");
    }
}

#[test]
fn a_value_behind_its_tag_is_found_whatever_is_between() {
    assert_changes("a.yaml", &rules(), "image: !!str \"⟦nginx→d.io/web/nginx⟧\"\n");
    // The parser counts them to the value: they are not taken for its first characters.
    assert_changes("a.yaml", &rules(), "repository: !!str # 12345\"\n  \"nginx\"\ntag: 1\n");
    assert_changes("a.yaml", &rules(), "image: &a\u{a0}é \"⟦nginx→d.io/web/nginx⟧\"\n");
}

#[test]
fn volumes_of_images_and_keys_in_capitals_are_images() {
    let text = "volumes:\n- name: v\n  image: {reference: ⟦nginx:1.25→d.io/web/nginx:1.25⟧, pullPolicy: Always}\n\
                env: {IMAGE: ⟦nginx:1→d.io/web/nginx:1⟧}\nlist: [IMAGE=⟦nginx:1→d.io/web/nginx:1⟧]\nreference: nginx:1\n";
    assert_eq!(assert_changes("pod.yaml", &rules(), text), [""; 0]);
}

#[test]
fn a_variable_for_an_image_has_its_name_beside_it() {
    let text = "env: [{name: SIDECAR_IMAGE, value: \"⟦nginx:1→d.io/web/nginx:1⟧\"}, {name: HOST, value: nginx:80}]\nparams:\n- name: builder-image\n  \
                default: ⟦bitnami/redis→d.io/x/y/redis⟧:$(tag)\nvariables: {DB_IMAGE: {value: ⟦postgres:15→d.io/db/pg:1.15⟧, description: nginx:1}}\n\
                parameters: [{name: image, value: nginx}, {name: image, value: quay.io/a/b}]\n";
    let unclear = "quay.io/a/b: its tag is not written here, and nothing says that it is an image";
    assert_eq!(assert_changes("a.yaml", &rules(), text), [unclear]);
}

#[test]
fn behind_the_scheme_of_images_a_short_name_is_one() {
    let text = "build:\n  additional_contexts:\n    base: docker-image://⟦nginx:1.25→d.io/web/nginx:1.25⟧\n    \
                other: \"docker-image://⟦quay.io/a/b→d.io/m/b⟧\"\nwith:\n  build-contexts: |\n    \
                alpine=docker-image://⟦bitnami/redis:7→d.io/x/y/redis:7⟧\n    oci://nginx:1\n    docker-image://quay.io/a/b:$TAG\n    \
                docker-image://postgres:17\n";
    let stays = assert_changes("compose.yaml", &rules(), text);
    let unclear = "quay.io/a/b: its tag is not written here, and nothing says that it is an image";
    assert_eq!(stays, [unclear, "postgres:17: no rule covers it"]);
}

#[test]
fn a_repository_that_is_all_of_a_line_is_named() {
    let text = "images: |\n  quay.io/a/b\n  - quay.io/a/b\n  x.io/a\n  nginx\n  see quay.io/a/b\n  ⟦quay.io/a/b:1→d.io/m/b:1⟧\n";
    let unclear = "quay.io/a/b: its tag is not written here, and nothing says that it is an image";
    assert_eq!(assert_changes("ci.yaml", &rules(), text), [unclear, unclear]);
}

#[test]
fn a_block_may_begin_with_a_template_action() {
    let text = "kind: {{ .kind }}\ndata:\n  a.yaml: |\n        {{- if .x }}\n    image: {repository: ⟦nginx→d.io/web/nginx⟧, tag: v1}\n\
                {{- end }}\n  b.yaml: |-\n{{ include \"x\" . | indent 4 }}\n    image: {repository: ⟦quay.io/a/b→d.io/m/b⟧, tag: v1}\n";
    assert_eq!(assert_changes("templates/a.yaml", &rules(), text), [""; 0]);
}

#[test]
fn an_address_in_brackets_is_quoted() {
    let images = r#"{"docker.io/library/nginx": "[fd00::1]:5000/nginx", "quay.io/a/b": "[fd00::1]:5000/a/b"}"#;
    let six = moves(images, Choice::default());
    let (new, name) = ("[fd00::1]:5000/nginx:1", "[fd00::1]:5000/nginx");
    for (file, text) in [
        (".gitlab-ci.yml", format!("services:\n- ⟦nginx:1→name: \"{new}\"\n  alias: nginx⟧\n")),
        (
            ".gitlab-ci.yml",
            format!("services:\n- '⟦nginx:1'→name: '{new}'\n  alias: nginx⟧\n").replace("'⟦nginx", "⟦'nginx"),
        ),
        ("a.yaml", format!("kustomize:\n  images:\n  - ⟦nginx:1→\"nginx={new}\"\n  - \"{new}\"⟧\n")),
        ("kustomization.yaml", format!("images:\n- name: nginx⟦→\n  newName: \"{name}\"⟧\n  newTag: v1\n")),
        (
            "values.yaml",
            "a: {⟦→registry: \"[fd00::1]:5000\", ⟧repository: a/b, tag: v1, defaultRegistry: quay.io}\n".to_owned(),
        ),
        ("values.yaml", "a:\n  registry:⟦→ \"[fd00::1]:5000\"⟧\n  repository: ⟦nginx→nginx⟧\n  tag: 1\n".to_owned()),
        ("a.yaml", "a: [⟦quay.io/a/b:1→\"[fd00::1]:5000/a/b:1\"⟧]\n".to_owned()),
        (
            "a.yaml",
            "a: [⟦--a=quay.io/a/b:1 \"x\"→'--a=[fd00::1]:5000/a/b:1 \"x\"'⟧, '⟦quay.io/a/b:1→[fd00::1]:5000/a/b:1⟧']\n"
                .to_owned(),
        ),
        (
            "a.tpl",
            format!(
                "{{{{ x\n- a: [\nimage: ⟦nginx:1→\"{new}\"⟧ # a\nimage: '⟦nginx:1→{new}⟧'\nb: ⟦quay.io/a/b:1→\"[fd00::1]:5000/a/b:1\"⟧\n"
            ),
        ),
    ] {
        assert_eq!(assert_changes(file, &six, &text), [""; 0], "{text}");
    }
}
