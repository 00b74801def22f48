//! Resource quantities, as far as telling whether two spellings mean the same.

/// Whether both are quantities of the same amount: `1000m` and `1`, `0.5` and `500m`, `1024Mi` and `1Gi`.
pub(crate) fn same(left: &str, right: &str) -> bool {
    matches!((nano(left), nano(right)), (Some(left), Some(right)) if left == right)
}

/// The amount in billionths; `None` when the text is no quantity, is finer than that, or too large to matter.
fn nano(text: &str) -> Option<i128> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let decimals = i32::try_from(fraction.len()).ok()?;
    let (power_of_two, power_of_ten) = scale(suffix)?;
    let exponent = 9_i32.checked_add(power_of_ten)?.checked_sub(decimals)?;
    let scaled = digits.checked_mul(1 << power_of_two)?;
    let ten = 10_i128.checked_pow(exponent.unsigned_abs())?;
    if exponent >= 0 {
        scaled.checked_mul(ten)?.checked_mul(sign)
    } else {
        (scaled % ten == 0).then_some(sign * (scaled / ten))
    }
}

/// The suffix as a power of two and a power of ten.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "" => (0, 0),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => (0, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn spellings_of_one_amount() {
        for (left, right) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("1E", "1e18"),
            ("+1", "1.0"),
            ("-500m", "-0.5"),
            (".5", "0.50"),
            ("0", "0Gi"),
            ("123000000n", "123m"),
        ] {
            assert!(same(left, right), "{left} {right}");
        }
    }

    #[test]
    fn everything_else_differs() {
        for (left, right) in [
            ("1", "1m"),
            ("1Gi", "1G"),
            ("1", "-1"),
            ("x", "x"),
            ("", ""),
            ("1.2.3", "1.2.3"),
            ("1 Gi", "1Gi"),
            ("1e999999999", "1e999999999"),
            ("99999999999999999999999999999999999Ei", "99999999999999999999999999999999999Ei"),
            ("1i", "1"),
            (".", "0"),
        ] {
            assert!(!same(left, right), "{left} {right}");
        }
    }
}
