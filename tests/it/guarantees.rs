//! Each promise of the chapter "What you can rely on" names tests that are there.

use std::fs;

#[test]
fn each_has_a_test_or_says_that_there_is_none() {
    let untested: Vec<_> = promises()
        .filter(|promise| tests(promise).next().is_none() && !promise.contains("(no test: "))
        .collect();
    assert!(untested.is_empty(), "{untested:#?}");
}

#[test]
fn the_tests_that_they_name_exist() {
    let missing: Vec<_> =
        promises().flat_map(tests).filter(|test| !exists(test)).map(str::to_owned).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The items of the chapter's lists.
fn promises() -> impl Iterator<Item = &'static str> {
    let lists = CHAPTER.split("\n# ").skip(1);
    lists.flat_map(|list| list.split("\n- ").skip(1))
}

/// The paths of tests in a promise.
fn tests(promise: &str) -> impl Iterator<Item = &str> {
    promise.split('`').skip(1).step_by(2).filter(|code| is_test(code))
}

/// Types begin with a capital letter.
fn is_test(code: &str) -> bool {
    code.contains("::") && code.starts_with(char::is_lowercase)
}

/// Whether a module of the tests, or a fuzz target, has this name.
fn exists(test: &str) -> bool {
    let (module, path) = test.split_once("::").unwrap();
    let (file, function) = match module {
        "fuzz" => (format!("fuzz/src/{path}.rs"), "run"),
        _ => (format!("tests/*/{module}.rs"), path.rsplit("::").next().unwrap()),
    };
    let definition = format!("fn {function}(");
    ["it", "costs", "load", "upgrade"].iter().any(|directory| {
        let source = fs::read_to_string(file.replace('*', directory));
        source.is_ok_and(|source| source.contains(&definition))
    })
}

const CHAPTER: &str = include_str!("../../src/guarantees.md");
