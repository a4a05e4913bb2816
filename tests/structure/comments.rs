//! Openings of comments: a sentence names its actor first.

use crate::tree;

/// Words that open a noun clause.
const OPENINGS: [&str; 8] = [
    "What", "Who", "Whose", "Whom", "Whether", "Where", "Which", "How",
];

#[test]
fn comments_do_not_open_with_a_noun_clause() {
    let (mut comments, mut found) = (0, Vec::new());
    for file in tree::files(&[".rs"]) {
        for (number, line) in file.text.lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else {
                continue;
            };
            comments += 1;
            let text = comment.trim_start_matches(['/', '!']).trim_start();
            let word = text.split(|c: char| !c.is_alphabetic()).next();
            if word.is_some_and(|word| OPENINGS.contains(&word)) {
                found.push(format!("{}:{}: {text}", file.path, number + 1));
            }
        }
    }
    let share = 100.0 * found.len() as f64 / comments as f64;
    println!(
        "{share:.1} % of {comments} comment lines open with {}",
        OPENINGS.join(", ")
    );
    println!("{}", found.join("\n"));
    assert!(
        share <= 1.0,
        "{share:.1} % of comment lines open with a noun clause:\n{}",
        found.join("\n")
    );
}
