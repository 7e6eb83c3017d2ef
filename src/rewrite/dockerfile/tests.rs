use crate::rewrite::tests::{assert_changes, rules};

#[test]
fn images_are_found_where_a_dockerfile_has_them() {
    let stays = assert_changes(
        "Dockerfile",
        &rules(),
        r#"# syntax = ⟦quay.io/a/b:1→d.io/m/b:1⟧
# nginx:1 and quay.io/a/b:1 in a comment stay
FROM --platform=$BUILDPLATFORM ⟦nginx:1→d.io/web/nginx:1⟧ AS Nginx
FROM nginx
FROM scratch AS b
from ⟦postgres:15→d.io/db/pg:1.15⟧
COPY --from=b --chown=1 /a /nginx
COPY --from=0 /a /b
COPY --chown=1 --from=⟦bitnami/redis:7→d.io/x/y/redis:7⟧ /quay.io/a/b:1 \
  # nginx
  /b
RUN --mount=type=bind,from=⟦quay.io/a/b→d.io/m/b⟧,target=/x --mount=from=b,type=bind nginx:1 \
    ⟦quay.io/a/b:1→d.io/m/b:1⟧
RUN <<EOF
FROM nginx:1
echo ⟦quay.io/a/b:2→d.io/m/b:2⟧
EOF
ONBUILD COPY --from=⟦quay.io/a/b→d.io/m/b⟧ /x /y
ONBUILD RUN ⟦quay.io/a/b:1→d.io/m/b:1⟧
RUN echo $((1<<3)) a<<b
ENV IMAGE="⟦quay.io/a/b:3→d.io/m/b:3⟧" X=nginx:1
FROM \
  ⟦redis→redis⟧ as last
FROM postgres:17
FROM "⟦bitnami/redis:7→d.io/x/y/redis:7⟧" AS quoted
"#,
    );
    assert_eq!(stays, ["postgres:17: no rule covers it"]);
}

#[test]
fn defaults_of_arguments_are_followed() {
    let stays = assert_changes(
        "app.Dockerfile",
        &rules(),
        "ARG BASE=\"⟦nginx:1→d.io/web/nginx:1⟧\" TAG=1.25\nARG NAME=⟦bitnami/redis→d.io/x/y/redis⟧\n\
         ARG OTHER=⟦quay.io/a/b:1→d.io/m/b:1⟧\n\
         FROM ${BASE}\nFROM ⟦nginx→d.io/web/nginx⟧:$TAG-alpine\nFROM $NAME:7\n\
         FROM ${UNSET:-⟦nginx→d.io/web/nginx⟧}\nFROM ⟦nginx→d.io/web/nginx⟧:${NONE}\nFROM $NONE\n\
         ARG BASE=⟦quay.io/a/b:9→d.io/m/b:9⟧\n",
    );
    assert_eq!(stays, [""; 0]);
    assert_changes("Dockerfile", &rules(), "ARG V=⟦15→1.15⟧\nFROM ⟦postgres→d.io/db/pg⟧:${V}\n");
}

#[test]
fn an_argument_that_others_need_as_it_is_stays() {
    let text = "ARG REGISTRY=quay.io\nARG NAME=nginx\nFROM ${REGISTRY}/a/b:1\nFROM ${NAME}:1\nFROM ${NAME}-other:1\n";
    let stays = assert_changes("Dockerfile", &rules(), text);
    assert_eq!(
        stays,
        [
            "quay.io/a/b:1: what it is made of is used elsewhere, too, or comes from there; d.io/m/b:1 is where it is now",
            "nginx:1: what it is made of is used elsewhere, too, or comes from there; d.io/web/nginx:1 is where it is now",
        ]
    );
    // Who sets it has the image from elsewhere.
    let stays = assert_changes("Dockerfile", &rules(), "ARG REGISTRY=\"\"\nFROM ${REGISTRY}nginx:1\n");
    assert_eq!(stays.len(), 1, "{stays:?}");
    let text = "ARG V=15\nFROM postgres:$V\nFROM other:$V\n";
    assert_eq!(assert_changes("Dockerfile", &rules(), text).len(), 1);
}

#[test]
fn an_argument_that_a_stage_takes_over_keeps_what_may_be_no_image() {
    let stage = "ARG V\nRUN apt-get install pg-module=${V}*\n";
    let stays = assert_changes("Dockerfile", &rules(), &format!("ARG V=15\nFROM postgres:${{V}}\n{stage}"));
    assert_eq!(
        stays,
        [
            "postgres:15: what it is made of is used elsewhere, too, or comes from there; d.io/db/pg:1.15 is where it is now"
        ]
    );
    let stays = assert_changes("Dockerfile", &rules(), &format!("ARG V=1\nFROM ⟦nginx→d.io/web/nginx⟧:$V\n{stage}"));
    assert_eq!(stays, [""; 0], "a tag that stays harms nobody");
    let text = "ARG BASE=⟦nginx:1→d.io/web/nginx:1⟧\nARG V=⟦15→1.15⟧\nFROM $BASE\nARG BASE\nFROM ⟦postgres→d.io/db/pg⟧:$V\nARG V=16\n";
    assert_eq!(assert_changes("Dockerfile", &rules(), text), [""; 0]);
}

#[test]
fn a_dockerfile_is_known_by_its_name() {
    for name in ["Dockerfile", "dockerfile-chroot", "Dockerfile_dev", "Containerfile.x", "x.Dockerfile"] {
        assert_changes(name, &rules(), "FROM ⟦nginx→d.io/web/nginx⟧\n");
    }
    assert_changes("Dockerfiles.md", &rules(), "FROM nginx\n");
}

#[test]
fn lines_may_be_continued_with_a_backtick() {
    let text = "# escape=`\nFROM `\r\n  ⟦nginx→d.io/web/nginx⟧\r\nRUN a\\\r\nFROM ⟦nginx→d.io/web/nginx⟧";
    assert_changes("Dockerfile.windows", &rules(), text);
}

#[test]
fn arguments_that_multiply_come_to_an_end() {
    let text =
        format!("ARG X={}\nARG Y={}\nFROM $X\nFROM ⟦nginx→d.io/web/nginx⟧\n", "$Y".repeat(100), "$X".repeat(100));
    assert_eq!(assert_changes("Dockerfile", &rules(), &text), [""; 0]);
}

#[test]
fn here_documents_that_never_end_are_looked_through_once() {
    // Who looks for the end of each of them does not come to an end here.
    let text = "RUN cat <<EOF\n".repeat(100_000);
    assert_changes("Dockerfile", &rules(), &text);
}

#[test]
fn images_of_many_stages_are_not_compared_with_each_other() {
    // Who does that does not come to an end here.
    let text = "FROM ⟦nginx→d.io/web/nginx⟧\n".repeat(30_000);
    assert_changes("Dockerfile", &rules(), &text);
}

#[test]
fn images_of_one_argument_are_not_compared_with_each_other() {
    // Nor that.
    let stages = "FROM $A\nENV B=c\n".repeat(30_000);
    let text = format!("ARG A=⟦nginx:1→d.io/web/nginx:1⟧\n{stages}");
    assert_eq!(assert_changes("Dockerfile", &rules(), &text), [""; 0]);
    let text = format!("ARG A=nginx\n{stages}FROM $A/b\n");
    let stays = assert_changes("Dockerfile", &rules(), &text);
    assert_eq!(stays.len(), 30_000, "one of them wants it as it is");
}
