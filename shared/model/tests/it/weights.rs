//! Shares that get other room keep their proportions.

use proptest::prelude::*;
use vamp_model::{percent, weights};
use vamp_routing::wire::Share;

#[test]
fn shares_that_are_fitted_keep_their_proportions() {
    let fit = |shares: &[&str], room: &str| {
        let shares: Vec<Share> = shares.iter().filter_map(|share| percent::parse(share)).collect();
        let fitted = weights::fit(&shares, percent::parse(room).unwrap());
        fitted.map(|fitted| fitted.into_iter().map(percent::format).collect::<Vec<_>>())
    };
    assert_eq!(fit(&["70%", "30%"], "90%").unwrap(), ["63%", "27%"]);
    assert_eq!(fit(&["33%", "33%", "34%"], "50%").unwrap(), ["16.5%", "16.5%", "17%"]);
    assert_eq!(fit(&["50%", "50%"], "0.01%").unwrap(), ["0.01%", "0%"]);
    assert_eq!(fit(&["40%", "0%"], "100%").unwrap(), ["100%", "0%"]);
    assert_eq!(fit(&["0%", "0%"], "40%"), None);
    assert_eq!(fit(&[], "40%"), None);
}

proptest! {
    #[test]
    fn what_is_fitted_fills_the_room_and_is_off_by_less_than_a_step(
        shares in prop::collection::vec(0_u16..=10_000, 0..12),
        room in 0_u16..=10_000,
    ) {
        let given: Vec<Share> = shares.iter().copied().map(Share).collect();
        let sum: u64 = shares.iter().copied().map(u64::from).sum();
        let Some(fitted) = weights::fit(&given, Share(room)) else {
            prop_assert_eq!(sum, 0);
            return Ok(());
        };
        prop_assert_eq!(fitted.iter().map(|share| u64::from(share.0)).sum::<u64>(), u64::from(room));
        for (before, after) in given.iter().zip(&fitted) {
            let exact = u64::from(before.0) * u64::from(room);
            prop_assert!((u64::from(after.0) * sum).abs_diff(exact) < sum, "{before:?} became {after:?}");
        }
    }
}
