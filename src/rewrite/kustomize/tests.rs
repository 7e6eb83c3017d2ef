use std::fs;

use crate::rewrite::moves::Choice;
use crate::rewrite::tests::{assert_changes, moves, rules};
use crate::rewrite::{collect, plan};

#[test]
fn an_image_gets_a_new_name_and_what_is_looked_for_stays() {
    let stays = assert_changes(
        "kustomization.yaml",
        &rules(),
        "images:\n- name: nginx⟦→\n  newName: d.io/web/nginx⟧\n  newTag: \"1.25\" # x\n\
         - name: app\n  newName: ⟦postgres→d.io/db/pg⟧\n  newTag: '⟦15→1.15⟧'\n\
         - {name: nginx⟦→, newName: d.io/web/nginx⟧, newTag: 1}\n- name: postgres\n  newTag: \"17\"\n\
         - name: web\n  newName: ⟦quay.io/a/b→d.io/m/b⟧\n",
    );
    assert_eq!(stays, ["postgres:17: no rule covers it"]);
    let text = "images:\r\n  - newTag: '1'\r\n    name: nginx # x⟦→\r\n    newName: d.io/web/nginx⟧\r\n";
    assert_changes("kustomization.yaml", &rules(), text);
}

#[test]
fn names_follow_the_resources() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), text).unwrap();
    };
    write("base/kustomization.yaml", "resources: [pod.yaml]\n");
    write("base/pod.yaml", "- image: nginx:1\n- image: postgres:15\n- image: postgres:17\n- image: bitnami/redis:7\n");
    let overlay = "bases: [../base]\nimages:\n- name: nginx\n  newTag: '2'\n- name: postgres\n  newTag: '16'\n\
                   - name: bitnami/redis\n  newName: other\n";
    write("overlay/kustomization.yaml", overlay);
    let run = |folders: &[&str]| {
        let folders: Vec<_> = folders.iter().map(|name| path(name)).collect();
        for file in plan(&collect(&folders, &[]).unwrap().files, &rules()).changed {
            file.write().unwrap();
        }
        fs::read_to_string(path("overlay/kustomization.yaml")).unwrap()
    };
    let postgres = |text: &str| {
        text.replace("name: postgres\n  newTag: '16'", "name: postgres\n  newName: d.io/db/pg\n  newTag: '1.16'")
    };
    // Alone the overlay must still find what is in the base.
    let alone = postgres(overlay).replace("name: nginx\n", "name: nginx\n  newName: d.io/web/nginx\n");
    assert_eq!(run(&["overlay"]), alone);
    write("overlay/kustomization.yaml", overlay);
    let both = postgres(overlay).replace("name: nginx", "name: d.io/web/nginx");
    // One of the images that are called postgres stays what it is called.
    let both = both.replace("- name: postgres", "- name: d.io/db/pg\n  newTag: \"1.16\"\n- name: postgres");
    let both = both.replace("name: bitnami/redis", "name: d.io/x/y/redis");
    assert_eq!(run(&["overlay", "base"]), both);
    assert_eq!(run(&["overlay", "base"]), both, "a second time changes nothing");
}

#[test]
fn what_did_not_move_comes_from_where_it_always_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let (pod, kustomization) = (folder.path().join("pod.yaml"), folder.path().join("kustomization.yaml"));
    fs::write(&pod, "image: postgres:15\n").unwrap();
    fs::write(&kustomization, "resources: [pod.yaml]\nimages:\n- name: postgres\n  newTag: '17'\n").unwrap();
    let rewrite = plan(&[kustomization.clone(), pod], &rules());
    let after = &rewrite.changed.iter().find(|file| file.path == kustomization).unwrap().after;
    let expected = "resources: [pod.yaml]\nimages:\n- name: d.io/db/pg\n  newName: postgres\n  newTag: '17'\n";
    assert_eq!(String::from_utf8_lossy(after), expected);
}

#[test]
fn what_stays_in_the_resources_keeps_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (pod, kustomization) = (folder.path().join("pod.yaml"), folder.path().join("kustomization.yaml"));
    for image in ["{name: &app nginx, image: *app}", r#"{image: "\x6eginx:1"}"#] {
        fs::write(&pod, format!("containers: [{image}]\n")).unwrap();
        fs::write(&kustomization, "resources: [pod.yaml]\nimages:\n- name: nginx\n  newTag: '2'\n").unwrap();
        let rewrite = plan(&[kustomization.clone(), pod.clone()], &rules());
        let [file] = rewrite.changed.as_slice() else { panic!("{image}: {rewrite:?}") };
        let expected = "resources: [pod.yaml]\nimages:\n- name: nginx\n  newName: d.io/web/nginx\n  newTag: '2'\n";
        assert_eq!(String::from_utf8_lossy(&file.after), expected, "{image}");
    }
}

/// Writes kustomizations that are made of each other, each with a resource, and an entry for nginx in that of `a`; gives
/// what becomes of this one.
fn made_of_each_other(parts: &[(String, Vec<String>)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, parts) in parts {
        fs::create_dir_all(path(name)).unwrap();
        let parts: String = parts.iter().map(|part| format!("- ../{name}/../{part}\n")).collect();
        let images = if name == "a" { "images:\n- name: nginx\n  newTag: '2'\n" } else { "" };
        fs::write(path(name).join("kustomization.yaml"), format!("resources:\n- x.yaml\n{parts}{images}")).unwrap();
        fs::write(path(name).join("x.yaml"), "image: other:1\n").unwrap();
    }
    let (last, _) = parts.last().unwrap();
    fs::write(path(last).join("x.yaml"), b"image: nginx:1 # caf\xE9\n").unwrap();
    for file in plan(&collect(&[folder.path().to_owned()], &[]).unwrap().files, &rules()).changed {
        file.write().unwrap();
    }
    fs::read_to_string(path("a/kustomization.yaml")).unwrap()
}

#[test]
fn what_many_kustomizations_are_made_of_is_read_once() {
    // Who follows each way through them does not come to an end here.
    let row = |layer: usize| (0..3).map(move |column| format!("{layer}-{column}"));
    let mut parts = vec![("a".to_owned(), row(0).collect())];
    parts.extend((0..29).flat_map(|layer| row(layer).map(move |name| (name, row(layer + 1).collect()))));
    parts.extend(row(29).map(|name| (name, Vec::new())));
    let after = made_of_each_other(&parts);
    assert!(after.ends_with("images:\n- name: d.io/web/nginx\n  newTag: '2'\n"), "{after}");
}

#[test]
fn kustomizations_that_are_made_of_themselves_come_to_an_end() {
    let names = ["a", "b", "c"].map(str::to_owned);
    let others = |name: &String| names.iter().filter(|other| *other != name).cloned().collect();
    let parts: Vec<(String, Vec<String>)> = names.iter().map(|name| (name.clone(), others(name))).collect();
    let after = made_of_each_other(&parts);
    assert!(after.contains("- name: d.io/web/nginx\n  newTag: \"2\"\n- name: nginx\n"), "{after}");
}

#[cfg(unix)]
#[test]
fn of_a_part_as_large_as_no_manifest_is_nothing_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::File::create(path("data.yaml")).unwrap().set_len(1 << 40).unwrap();
    fs::write(path("pod.yaml"), "image: nginx:1\n").unwrap();
    let text = "resources: [data.yaml, pod.yaml]\nimages: [{name: nginx, newTag: '2'}]\n";
    fs::write(path("kustomization.yaml"), text).unwrap();
    let after = &plan(&[path("kustomization.yaml"), path("pod.yaml")], &rules()).changed[0].after;
    let after = String::from_utf8_lossy(after);
    assert!(after.contains("{name: d.io/web/nginx, newTag: \"2\"}, {name: nginx, "), "{after}");
}

#[test]
fn names_follow_the_patches() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", "image: nginx:1\n");
    write("b.yaml", "image: bitnami/redis:6\n");
    write("c.yaml", "- {op: replace, path: /spec/containers/0/image, value: \"busybox:latest\"}\n");
    write("values.yaml", "image: {repository: quay.io/a/b, tag: v1}\n");
    let text = "images:\n- {name: nginx, newTag: '2'}\n- {name: bitnami/redis, newTag: '7'}\n\
                - {name: busybox, newTag: latest}\n- {name: postgres, newTag: '16'}\n- {name: quay.io/a/b, newTag: v2}\n\
                patches:\n- path: a.yaml\n- patch: |-\n    - op: add\n      path: /spec/containers/0/image\n      value: postgres:15\npatchesStrategicMerge: [b.yaml]\npatchesJson6902:\n- path: c.yaml\n\
                helmCharts:\n- valuesFile: values.yaml\n";
    write("kustomization.yaml", text);
    let run = || {
        for file in plan(&collect(&[folder.path().to_owned()], &[]).unwrap().files, &rules()).changed {
            file.write().unwrap();
        }
        fs::read_to_string(folder.path().join("kustomization.yaml")).unwrap()
    };
    let after = text.replace("name: nginx", "name: d.io/web/nginx").replace("name: bitnami", "name: d.io/x/y");
    let after = after.replace("name: busybox, newTag: latest", "name: d.io/m/bb, newTag: stable");
    let after = after.replace("name: postgres, newTag: '16'", "name: d.io/db/pg, newTag: '1.16'");
    let after =
        after.replace("value: postgres:15", "value: d.io/db/pg:1.15").replace("name: quay.io/a", "name: d.io/m");
    assert_eq!(run(), after);
    assert_eq!(run(), after, "a second time changes nothing");
}

#[test]
fn of_two_names_each_has_its_entry() {
    let patch = "patchesStrategicMerge: [\"x\"]\npatches:\n- patch: |\n    - image: ⟦postgres:15→d.io/db/pg:1.15⟧\n    \
                 - image: postgres:17\n";
    for images in [
        "images:\n  - ⟦→name: d.io/db/pg\n    newTag: \"1.16\"\n  - ⟧name: postgres⟦→\n    newName: d.io/db/pg⟧\n    newTag: '⟦16→1.16⟧'\n",
        "images:\n-\n   ⟦→name: d.io/db/pg\n   newTag: \"1.16\"\n-\n   ⟧newTag: '⟦16→1.16⟧'\n   name: postgres⟦→\n   newName: d.io/db/pg⟧\n",
        "images:\n- {⟦→name: d.io/db/pg, newTag: \"1.16\"}\n- {⟧name: postgres⟦→, newName: d.io/db/pg⟧, newTag: '⟦16→1.16⟧'}\n",
        "images: [{⟦→name: d.io/db/pg, newName: other, newTag: \"17\"}, {⟧name: postgres, newName: other, newTag: '17'}]\n",
    ] {
        let stays = assert_changes("kustomization.yaml", &rules(), &format!("{images}{patch}"));
        assert_eq!(stays, ["postgres:17: no rule covers it"]);
    }
}

#[test]
fn what_is_not_here_may_have_the_name_it_always_had() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("pod.yaml"), "image: nginx:1\n").unwrap();
    let images = "images:\n- name: nginx\n  newTag: '2'\n";
    let both =
        "images:\n- name: d.io/web/nginx\n  newTag: \"2\"\n- name: nginx\n  newName: d.io/web/nginx\n  newTag: '2'\n";
    for parts in [
        "resources: [pod.yaml, 'https://github.com/acme/remote//deploy?ref=v1']\n",
        "resources: [pod.yaml]\ncomponents: [../gone]\n",
        "resources: [pod.yaml]\nhelmCharts:\n- {name: web, repo: https://example.com}\n",
    ] {
        fs::write(path("kustomization.yaml"), format!("{parts}{images}")).unwrap();
        for _ in 0..2 {
            for file in plan(&collect(&[folder.path().to_owned()], &[]).unwrap().files, &rules()).changed {
                file.write().unwrap();
            }
            assert_eq!(fs::read_to_string(path("kustomization.yaml")).unwrap(), format!("{parts}{both}"));
        }
        fs::write(path("pod.yaml"), "image: nginx:1\n").unwrap();
    }
    // Of what is not here nothing has a new name.
    fs::write(path("kustomization.yaml"), format!("resources: [../gone]\n{images}")).unwrap();
    let changed = plan(&[path("kustomization.yaml")], &rules()).changed;
    let expected = "resources: [../gone]\nimages:\n- name: nginx\n  newName: d.io/web/nginx\n  newTag: '2'\n";
    assert_eq!(String::from_utf8_lossy(&changed[0].after), expected);
}

#[test]
fn an_entry_that_says_nothing_is_not_added() {
    for text in [
        "kind: Component\nimages: [{name: nginx, newName: d.io/web/nginx}]\n",
        "kind: Component\nimages:\n- name: d.io/web/nginx\n- name: nginx⟦→\n  newName: d.io/web/nginx⟧\n  newTag: '2'\n",
    ] {
        assert_eq!(assert_changes("kustomization.yaml", &rules(), text), [""; 0]);
    }
}

#[test]
fn a_component_finds_an_image_by_either_name() {
    let text = "kind: Component\nimages:\n- ⟦→name: d.io/web/nginx\n  newTag: \"2\"\n- ⟧name: nginx⟦→\n  newName: d.io/web/nginx⟧\n  newTag: '2'\n";
    assert_eq!(assert_changes("kustomization.yaml", &rules(), text), [""; 0]);
}

#[test]
fn entries_of_flux_find_an_image_by_either_name() {
    let entry = "- ⟦→name: d.io/web/nginx\n      newTag: \"2\"\n    - ⟧name: nginx⟦→\n      newName: d.io/web/nginx⟧\n      newTag: '2'\n";
    let kustomization = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  path: ./app\n  x:\n    images:\n    ";
    assert_eq!(assert_changes("cluster.yaml", &rules(), &format!("{kustomization}{entry}")), [""; 0]);
    let release = "kind: HelmRelease\nspec:\n postRenderers:\n - kustomize:\n    images:\n    ";
    assert_eq!(assert_changes("release.yaml", &rules(), &format!("{release}{entry}")), [""; 0]);
    let renamed = "postRenderers:\n- kustomize:\n    images:\n    - name: docker.io/x/web\n      newName: ⟦nginx→d.io/web/nginx⟧\n      newTag: \"1.25\"\n";
    assert_eq!(assert_changes("release.yaml", &rules(), renamed), [""; 0]);
}

#[test]
fn json_stays_json() {
    for text in [
        "{\"images\": [{⟦→\"name\": \"d.io/web/nginx\", \"newTag\": \"2\"}, {⟧\"name\": \"nginx\"⟦→, \"newName\": \"d.io/web/nginx\"⟧, \"newTag\": \"2\"}]}",
        "{\n  \"images\": [\n    {\n      ⟦→\"name\": \"d.io/web/nginx\", \"newTag\": \"2\"}, {⟧\"name\": \"nginx\"⟦→,\n      \"newName\": \"d.io/web/nginx\"⟧,\n      \"newTag\": \"2\"\n    }\n  ]\n}\n",
    ] {
        assert_eq!(assert_changes("a.json", &rules(), text), [""; 0]);
        let after: String = text.replace('⟧', "").split('⟦').map(|part| part.rsplit('→').next().unwrap()).collect();
        serde_json::from_str::<serde_json::Value>(&after).unwrap();
    }
}

#[test]
fn of_several_places_the_chosen_one_gives_the_new_name() {
    let choice = Choice { to: Some("e.io/west".parse().unwrap()), ..Choice::default() };
    let rules = moves(r#"{"quay.io/a/b": ["d.io/east/b", "e.io/west/b"]}"#, choice);
    let text = "kind: Component\nimages:\n- ⟦→name: e.io/west/b\n  newTag: v2\n- ⟧name: quay.io/a/b⟦→\n  newName: e.io/west/b⟧\n  newTag: v2\n";
    assert_eq!(assert_changes("kustomization.yaml", &rules, text), [""; 0]);
}
