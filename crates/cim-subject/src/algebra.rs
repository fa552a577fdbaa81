//! The algebra of patterns as sets of subjects: containment, intersection, specificity.
//!
//! Planning, permissions and routing stand on it, so every answer is exact over the valid subjects,
//! including the limit of [`Subject::MAX_LEN`] bytes. What the limit means for sets:
//!
//! - A wildcard is one byte long and matches at least one byte, so the shortest subject that a
//!   pattern matches is exactly as long as the pattern. A pattern within the limit therefore
//!   matches something, and a text beyond it could match nothing.
//! - `>` can stand for two tokens only if the pattern and two more bytes (`.x`) are within the
//!   limit. At 254 and 255 bytes it is a `*` in effect.

use std::cmp::Ordering;

use crate::{Specificity, Subject, SubjectPattern};

impl SubjectPattern {
    /// Whether every subject that `other` matches is matched by `self`, too.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// let orders = SubjectPattern::new("orders.>")?;
    /// assert!(orders.contains(&SubjectPattern::new("orders.*.paid")?));
    /// assert!(orders.contains(&orders));
    /// assert!(!orders.contains(&SubjectPattern::new("*.42")?));
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub fn contains(&self, other: &SubjectPattern) -> bool {
        let mut outer = self.tokens();
        let mut inner = other.tokens();
        loop {
            match (outer.next(), inner.next()) {
                (None, None) => return true,
                // One or more tokens are left in `other`, and each stands for one or more.
                (Some(">"), Some(_)) => return true,
                // `other` has longer subjects than a `*` at the end, unless the limit forbids it.
                (Some("*"), Some(">")) => {
                    return outer.next().is_none() && other.as_str().len() + 2 > Subject::MAX_LEN;
                }
                (Some("*"), Some(_)) => {}
                (Some(outer), Some(inner)) if outer == inner => {}
                _ => return false,
            }
        }
    }

    /// Whether some subject is matched by both patterns.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// let paid = SubjectPattern::new("*.*.paid")?;
    /// assert!(paid.intersects(&SubjectPattern::new("orders.>")?));
    /// assert!(!paid.intersects(&SubjectPattern::new("orders.*")?));
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub fn intersects(&self, other: &SubjectPattern) -> bool {
        let mut length = 0;
        let meet = self.meet(other, |token| length += token.len() + 1);
        meet && length - 1 <= Subject::MAX_LEN
    }

    /// The pattern that matches exactly the subjects that both patterns match, if there are any.
    ///
    /// The intersection of two patterns is always one pattern or nothing. Go through both token by
    /// token, as long as neither stands at `>`: a subject must satisfy both at its token of the
    /// same place, which is one literal, `*`, or impossible; and if one pattern ends, so must the
    /// other. Once one of them stands at its `>`, that one accepts whatever is left, provided that
    /// something is; the rest of the other pattern, which has at least one token, sees to that. So
    /// the rest of the intersection is the rest of the other pattern.
    ///
    /// A result of more than [`Subject::MAX_LEN`] bytes is nothing: it could match no subject.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// let orders = SubjectPattern::new("orders.>")?;
    /// let paid = SubjectPattern::new("*.*.paid")?;
    /// assert_eq!(orders.intersection(&paid), Some(SubjectPattern::new("orders.*.paid")?));
    /// assert_eq!(orders.intersection(&SubjectPattern::new("orders")?), None);
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub fn intersection(&self, other: &SubjectPattern) -> Option<SubjectPattern> {
        let mut text = String::with_capacity(self.as_str().len().max(other.as_str().len()));
        let meet = self.meet(other, |token| {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(token);
        });
        (meet && text.len() <= Subject::MAX_LEN).then(|| SubjectPattern::from_checked(text.into()))
    }

    /// Gives the tokens of the intersection to `token`, limit aside; `false` if there is none.
    fn meet<'a>(&'a self, other: &'a SubjectPattern, mut token: impl FnMut(&'a str)) -> bool {
        let mut left = self.tokens();
        let mut right = other.tokens();
        loop {
            match (left.next(), right.next()) {
                (None, None) => return true,
                (Some(">"), Some(next)) => {
                    token(next);
                    right.for_each(token);
                    return true;
                }
                (Some(next), Some(">")) => {
                    token(next);
                    left.for_each(token);
                    return true;
                }
                (Some("*"), Some(next)) | (Some(next), Some("*")) => token(next),
                (Some(next), Some(same)) if next == same => token(next),
                _ => return false,
            }
        }
    }

    /// Compares by how much the patterns narrow down: `Greater` if `self` is more specific than
    /// `other` (matches a strict subset of it), `Less` if it is the other way round, `Equal` if
    /// both match the same subjects, and `None` if neither contains the other.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// use std::cmp::Ordering;
    ///
    /// let all_paid = SubjectPattern::new("*.*.paid")?;
    /// let paid = SubjectPattern::new("orders.*.paid")?;
    /// let orders = SubjectPattern::new("orders.>")?;
    /// assert_eq!(paid.partial_cmp_specificity(&orders), Some(Ordering::Greater));
    /// assert_eq!(orders.partial_cmp_specificity(&all_paid), None);
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub fn partial_cmp_specificity(&self, other: &SubjectPattern) -> Option<Ordering> {
        match (self.contains(other), other.contains(self)) {
            (true, true) => Some(Ordering::Equal),
            (false, true) => Some(Ordering::Greater),
            (true, false) => Some(Ordering::Less),
            (false, false) => None,
        }
    }

    /// A key that sorts patterns by specificity, the least specific first, in one total order.
    ///
    /// ```
    /// # use cim_subject::SubjectPattern;
    /// use std::cmp::Reverse;
    ///
    /// let mut routes = [SubjectPattern::all(), "orders.*".parse()?, "orders.42".parse()?];
    /// routes.sort_by_key(|route| Reverse(route.specificity()));
    /// assert_eq!(routes, ["orders.42", "orders.*", ">"]);
    /// # Ok::<(), cim_subject::SubjectError>(())
    /// ```
    pub fn specificity(&self) -> Specificity {
        Specificity::new(self.clone())
    }
}
