//! The parameters of `unix://`.

use seam_core::{Endpoint, Error, Kind, Parameter, Result, Scheme, Shape, parameters};

pub(crate) static SCHEMES: [Scheme; 1] = [Scheme::new("unix", Shape::File, &PARAMETERS)
    .with_optional_address("wire", "connect")
    .with_about(
        "a Unix domain socket: sessions within one machine, or the plain wire of `connect`",
    )];

static PARAMETERS: [Parameter; 21] = seam_link::parameters_with([parameters::ADDRESS, MODE]);

const MODE: Parameter = Parameter::new("mode", Kind::Text)
    .with_default("0600")
    .with_about("who may connect: the mode of a listener's file, in octal digits");

/// The mode of a listener's file.
pub(crate) fn mode(endpoint: &Endpoint) -> Result<u32> {
    let text = endpoint.text("mode").unwrap_or("0600");
    let mode =
        u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600);
    mode.ok_or_else(|| {
        Error::invalid_endpoint(format!(
            "`mode={text}` is no mode of a socket that its owner uses; write octal digits, as 0600 or 0660"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_octal_and_leaves_its_owner_in() {
        let mode = |text: &str| {
            let uri = format!("unix:///run/s?address=a{text}").parse().unwrap();
            mode(&Endpoint::resolve(&uri, &SCHEMES[0]).unwrap())
        };
        assert_eq!(mode("").unwrap(), 0o600);
        assert_eq!(mode("&mode=0660").unwrap(), 0o660);
        assert_eq!(mode("&mode=777").unwrap(), 0o777);
        for wrong in ["0899", "0060", "01777", "rw", "-1"] {
            let told = mode(&format!("&mode={wrong}")).unwrap_err().to_string();
            assert!(told.contains(wrong) && told.contains("0660"), "{told}");
        }
    }
}
