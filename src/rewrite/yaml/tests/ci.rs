//! Pipelines: GitHub, GitLab, Azure and others.

use super::*;

#[test]
fn workflows_of_github() {
    assert_changes(
        ".github/workflows/ci.yml",
        &rules(),
        "jobs:\n  a:\n    runs-on: ubuntu-latest\n    container: ⟦nginx:1→d.io/web/nginx:1⟧\n    services:\n      nginx:\n        image: \
         ⟦nginx→d.io/web/nginx⟧\n    steps:\n    - uses: docker://⟦nginx:1→d.io/web/nginx:1⟧\n    - uses: nginx/nginx@v1\n    - run: |\n        docker run \
         ⟦quay.io/a/b:1→d.io/m/b:1⟧ nginx:1\n  b: {container: nginx}\n  c: {runs-on: x, container: {image: ⟦nginx→d.io/web/nginx⟧}}\n",
    );
}

#[test]
fn images_of_a_matrix() {
    assert_changes(
        ".github/workflows/ci.yml",
        &rules(),
        "jobs:\n  a:\n    runs-on: x\n    strategy:\n      matrix:\n        image: [\"⟦nginx:1→d.io/web/nginx:1⟧\", nginx:1 2]\n        container:\n        - \
         ⟦bitnami/redis→d.io/x/y/redis⟧\n        node: [nginx:1]\n        include:\n        - image: ⟦nginx→d.io/web/nginx⟧\n    container: ${{ matrix.image }}\n\
         b: {container: [nginx], base_image: [⟦nginx→d.io/web/nginx⟧, {image: ⟦nginx→d.io/web/nginx⟧}]}\n",
    );
}

#[test]
fn pipelines_of_azure() {
    assert_changes(
        "azure-pipelines.yml",
        &rules(),
        "resources:\n  containers:\n  - container: nginx\n    image: ⟦nginx→d.io/web/nginx⟧\njobs:\n- job: a\n  container: \
         ⟦nginx:1→d.io/web/nginx:1⟧\n- job: b\n  container: nginx\n- {job: c, container: {image: ⟦nginx→d.io/web/nginx⟧}}\n\
         ---\npool: x\ncontainer: ⟦bitnami/redis→d.io/x/y/redis⟧\nsteps: []\n---\ncontainer: nginx:1\n",
    );
}

#[test]
fn jobs_of_gitlab() {
    // A service is reached by the name of its image: that must not change.
    let text = "default:\n  image: {name: \"⟦nginx:1→d.io/web/nginx:1⟧\", entrypoint: [\"\"]}\nservices:\n- ⟦nginx→name: \
                d.io/web/nginx\n  alias: nginx⟧\ntest:\n  services: [⟦postgres:15→{name: d.io/db/pg:1.15, alias: postgres}⟧, \
                {name: ⟦bitnami/redis→d.io/x/y/redis⟧, alias: cache}]\n  script: [nginx:1]\nother:\n  script: x\n  \
                services:\n    - ⟦\"bitnami/redis:7\"→name: \"d.io/x/y/redis:7\"\n      alias: bitnami-redis⟧ # x\n    - name: \
                ⟦nginx:1→d.io/web/nginx:1\n      alias: nginx⟧\n      command: [x]\n";
    assert_changes(".gitlab-ci.yml", &rules(), text);
    // The port of a registry is no part of that name.
    let port = moves(r#"{"r.io:5000/shop/db": "d.io/db"}"#, Choice::default());
    let text = format!(
        "services: [⟦r.io:5000/shop/db:1→{{name: d.io/db:1, alias: r.io-shop-db}}⟧]\nx: r.io:5000/shop/db@{DIGEST}\n"
    );
    assert_changes(".gitlab-ci.yml", &port, &text);
    // Elsewhere services are something else.
    assert_changes("route.yaml", &rules(), "spec:\n  routes:\n  - services:\n    - name: nginx\n      port: 80\n");
}

#[test]
fn services_of_other_ci_are_names() {
    for (name, text) in [
        (".travis.yml", "services: [redis, docker]\nscript: make\n"),
        ("x/bitbucket-pipelines.yml", "pipelines: {default: [{step: {services: [nginx], script: [x]}}]}\n"),
        ("bitbucket-pipelines.yml", "definitions: {services: {nginx: {image: ⟦nginx→d.io/web/nginx⟧}}}\n"),
        ("ci/jobs.yml", "a: {script: x, services: [⟦nginx:1→{name: d.io/web/nginx:1, alias: nginx}⟧]}\n"),
        ("ci/jobs.yml", "a: {extends: x, script: x, services: [⟦nginx→{name: d.io/web/nginx, alias: nginx}⟧]}\n"),
    ] {
        assert_eq!(assert_changes(name, &rules(), text), [""; 0], "{text}");
    }
    let text = "a: {script: x, services: [nginx, other]}\nstep: {services: [nginx], script: x}\n";
    let unclear = "nginx: its tag is not written here, and nothing says that it is an image";
    assert_eq!(assert_changes("ci/jobs.yml", &rules(), text), [unclear, unclear]);
}

#[test]
fn a_command_is_no_variable_for_an_image() {
    let text = "run: docker run --rm ⟦quay.io/a/b:1→d.io/m/b:1⟧ build app --run-image=⟦quay.io/a/b:2→d.io/m/b:2⟧\n";
    assert_eq!(assert_changes("a.yaml", &rules(), text), [""; 0]);
}
