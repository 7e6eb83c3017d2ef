//! Values of charts: an image that several fields make.

use super::*;

#[test]
fn fields_of_values_that_make_one_image_change_together() {
    let stays = assert_changes(
        "values.yaml",
        &rules(),
        r#"
whole: {image: {repository: ⟦quay.io/a/b→d.io/m/b⟧, tag: 1.2}}
web:
  image:
    registry: ⟦docker.io→d.io⟧   # the registry
    repository: ⟦bitnami/redis→x/y/redis⟧
    tag: "7.2"
    digest: ""
short:
  image: {repository: ⟦nginx→d.io/web/nginx⟧}
open:
  image:
    repository: quay.io/c/d
    tag: ""
renamed:
  image:
    repository: ⟦postgres→d.io/db/pg⟧
    tag: ⟦15→"1.15"⟧
renamedQuoted:
  image:
    repository: ⟦docker.io/library/postgres→d.io/db/pg⟧
    tag: '⟦16→1.16⟧'
uncovered:
  image: {registry: docker.io, repository: library/postgres, tag: "17"}
old: {image: ⟦bitnami/redis→d.io/x/y/redis⟧, imageTag: "6"}
split: {registry: ⟦quay.io/a→d.io/m⟧, repository: b, tag: v1}
joined: {registry: "⟦quay.io→d.io⟧/", repository: ⟦a/b→m/b⟧, tag: v1}
operator: {repository: ⟦quay.io/a→d.io/m⟧, image: b, version: v1}
inside: {registry: ⟦quay.io→d.io⟧, image: "⟦a/b:1→m/b:1⟧"}
source: {repository: nginx, branch: main}
dependencies:
- {name: nginx, repository: "https://quay.io/a/b", version: 1.2.3}
with: {repository: bitnami/redis, ref: main}
"#,
    );
    assert_eq!(
        stays,
        [
            "quay.io/c/d: its tag is not written here, and no rule brings every tag",
            "docker.io/library/postgres:17: no rule covers it",
        ]
    );
}

#[test]
fn a_registry_from_elsewhere_in_a_chart_is_written_out_where_it_is_needed() {
    assert_changes(
        "values.yaml",
        &rules(),
        "global:\n  image:\n    registry: quay.io\ncontroller:\n  image:\n    # registry: quay.io\n    \
         ⟦→registry: d.io\n    ⟧image: ⟦a/b→m/b⟧\n    tag: v1\nother:\n  image: {⟦→registry: d.io, ⟧repository: ⟦a/b→m/b⟧, tag: v1}\n",
    );
    // An empty field is filled: without it some charts put a host of their own before the repository.
    assert_changes(
        "values.yaml",
        &rules(),
        "a: {registry: \"⟦→d.io⟧\", repository: ⟦bitnami/redis→x/y/redis⟧, tag: 1}\nb:\n  registry:⟦→ d.io⟧\n  repository: \
         ⟦nginx→web/nginx⟧\n  tag: 1\nc: {registry: ⟦~→d.io⟧, defaultRegistry: quay.io, repository: ⟦a/b→m/b⟧, tag: v1}\n",
    );
    // What overrides all cannot be changed for one.
    let text = "global: {imageRegistry: quay.io}\nimage: {registry: docker.io, repository: a/b, tag: v1}\n";
    let stays = assert_changes("values.yaml", &rules(), text);
    assert_eq!(stays.len(), 1, "{stays:?}");
}

#[test]
fn a_chart_may_put_a_namespace_before_all_names() {
    let text = "imageRegistry: quay.io\nimageNamespace: a\nimage:\n  name: b\n  repository: \"⟦→d.io/m/b⟧\"\nhook:\n  image: \
                {name: b, tag: v1, repository:⟦→ d.io/m/b⟧}\nother:\n  image: {name: x, repository: \"\"}\nown: {image: {name: b, \
                repository: ⟦nginx→d.io/web/nginx⟧}}\nlast:\n  image: {name: b}\n";
    let stays = assert_changes("values.yaml", &rules(), text);
    assert_eq!(
        stays,
        ["quay.io/a/b: what it is made of is used elsewhere, too, or comes from there; d.io/m/b is where it is now"]
    );
}

#[test]
fn a_chart_may_have_a_hub_for_all_images() {
    let text = "_internal:\n  global:\n    hub: quay.io/a\n    tag: v1\n    proxy:\n      image: b\n  pilot:\n    hub: \"⟦→d.io/m⟧\"\n    \
                tag: \"\"\n    image: b\n  cni: {hub: x.io, image: \"⟦quay.io/a/b:1→d.io/m/b:1⟧\"}\n  own: {hub: ⟦quay.io/a→d.io/m⟧, tag: v1, image: b}\n";
    let stays = assert_changes("values.yaml", &rules(), text);
    assert_eq!(
        stays,
        ["quay.io/a/b: what it is made of is used elsewhere, too, or comes from there; d.io/m/b is where it is now"]
    );
}

#[test]
fn fields_may_have_a_prefix() {
    let text = "defaultRepository: ⟦bitnami/redis→d.io/x/y/redis⟧\ndefaultTag: \"2.7\"\ndefaultDigest: ~\nwebRepository: ⟦postgres→d.io/db/pg⟧\n\
                webTag: '⟦15→1.15⟧'\nchartRepository: nginx\nimages: {redis: {repository: ~, tag: ~}}\n";
    assert_eq!(assert_changes("values.yaml", &rules(), text), [""; 0]);
}

#[test]
fn an_image_with_a_prefix_may_have_its_registry_beside_it() {
    let text = "defaultBaseImageRegistry: ⟦quay.io→d.io⟧\ndefaultBaseImage: ⟦a/b→m/b⟧\nwebRegistry: ⟦docker.io→d.io⟧\nwebImage: ⟦bitnami/redis:7→x/y/redis:7⟧\n\
                ownImageRegistry: quay.io\nownImage: ⟦quay.io/a/b:1→d.io/m/b:1⟧\notherImageRegistry: x.io\notherImage: nginx\n\
                lastImageRegistry: \"\"\nlastImage: ⟦nginx→d.io/web/nginx⟧\n\
                loginRegistry: https://index.docker.io/v1/\nloginImage: ⟦nginx:1→d.io/web/nginx:1⟧\n";
    assert_eq!(assert_changes("values.yaml", &rules(), text), [""; 0]);
}

#[test]
fn images_may_be_listed_by_their_names() {
    let text = "images:\n  web: ⟦nginx:1→d.io/web/nginx:1⟧\n  nginx: ⟦quay.io/a/b:1→d.io/m/b:1⟧\n  pullPolicy: nginx\nports: {web: nginx:1}\n";
    assert_eq!(assert_changes("values.yaml", &rules(), text), [""; 0]);
}

#[test]
fn a_registry_that_is_taken_over_belongs_to_the_image() {
    let text = "x: &x {registry: docker.io, repository: bitnami/redis}\ny: &y {<<: *x, tag: \"7\"}\n\
                a: {image: {<<: *y, repository: nginx}}\nb: {image: {<<: [*y], repository: bitnami/redis, registry: ⟦docker.io→d.io⟧}}\n"
        .replace("repository: bitnami/redis, registry", "repository: ⟦bitnami/redis→x/y/redis⟧, registry");
    let shared = "what it is made of is used elsewhere, too, or comes from there; ";
    assert_eq!(
        assert_changes("values.yaml", &rules(), &text),
        [
            format!("docker.io/bitnami/redis: {shared}d.io/x/y/redis is where it is now"),
            format!("docker.io/nginx: {shared}d.io/web/nginx is where it is now"),
        ]
    );
}

#[test]
fn a_field_that_a_template_fills_in_is_not_left_out() {
    let text = "a:\n  image:\n    registry: {{ .registry }}\n    repository: bitnami/redis\n    tag: 7\n\
                b:\n  image:\n    repository: ⟦bitnami/redis→d.io/x/y/redis⟧\n    tag: {{ requiredEnv \"TAG\" }}\n";
    assert_eq!(assert_changes("values.yaml.gotmpl", &rules(), text), [""; 0]);
}
