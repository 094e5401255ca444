//! Glob patterns over bytes, as KEYS and SCAN take them.

/// Whether all of `text` matches `pattern`: `?` is any byte, `*` any bytes, `[a-z]` one of a set, `[^a-z]` one not
/// of it, `\\x` the byte x itself.
///
/// Takes at most time in proportion to the product of both lengths, whatever the pattern.
///
/// ```
/// use claimlog::op::glob_match;
/// assert!(glob_match(b"orders:*:[0-9]?", b"orders:eu:42"));
/// assert!(!glob_match(b"orders:\\*", b"orders:eu"));
/// ```
#[must_use]
pub fn glob_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern_at, mut text_at) = (0, 0);
    // Where to go on when what follows the last star does not match: let the star take one byte more.
    let mut retry = None;
    loop {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            retry = Some((pattern_at, text_at));
            continue;
        }
        let one = match (pattern_at < pattern.len(), text.get(text_at)) {
            (false, None) => return true,
            (true, Some(&byte)) => match_one(&pattern[pattern_at..], byte),
            (true, None) | (false, Some(_)) => None,
        };
        match (one, &mut retry) {
            (Some(used), _) => {
                pattern_at += used;
                text_at += 1;
            }
            (None, Some((star_pattern, star_text))) if *star_text < text.len() => {
                *star_text += 1;
                (pattern_at, text_at) = (*star_pattern, *star_text);
            }
            (None, _) => return false,
        }
    }
}

/// Matches one byte against the element at the head of the pattern; answers how long the element is.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => {
            let (found, used) = match_set(rest, byte);
            found.then_some(used + 1)
        }
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Matches a byte against what follows a `[`. A set that is never closed ends with the pattern.
fn match_set(set: &[u8], byte: u8) -> (bool, usize) {
    let negated = set.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &set[at..] {
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                found |= (*first.min(last)..=*first.max(last)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
            [] => break,
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::glob_match;

    #[test]
    fn patterns() {
        let cases: &[(&str, &str, bool)] = &[
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("?", "", false),
            ("h?llo", "hallo", true),
            ("h*llo", "heeeello", true),
            ("h*l*o", "hello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("[abc", "b", true),
            ("a\\", "a\\", true),
            ("a*c", "abb", false),
            ("*a*b*", "xxaxxbxx", true),
            ("[", "[", false),
            ("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false),
        ];
        for (pattern, text, matches) in cases {
            assert_eq!(glob_match(pattern.as_bytes(), text.as_bytes()), *matches, "{pattern} on {text}");
        }
        assert!(
            !glob_match("*a".repeat(200).as_bytes(), "a".repeat(199).as_bytes()),
            "many stars do not explode"
        );
    }
}
