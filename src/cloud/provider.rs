//! The clouds whose metadata can be asked for, and what each is called (pure).

/// A cloud whose metadata can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Google Cloud.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// `DigitalOcean`.
    DigitalOcean,
    /// Hetzner.
    Hetzner,
    /// Oracle Cloud.
    Oracle,
    /// Alibaba Cloud.
    Alibaba,
}

/// The names of a provider.
#[derive(Debug)]
pub struct Names {
    /// As the configuration has it.
    pub key: &'static str,
    /// Value of `cloud.provider` (semantic conventions, as far as they have one).
    pub word: &'static str,
    /// Value of `cloud.platform`, where the semantic conventions have one.
    pub platform: Option<&'static str>,
    /// As coroot-node-agent calls it.
    pub classic: &'static str,
}

impl Provider {
    /// Every provider.
    pub const ALL: &[Self] =
        &[Self::Aws, Self::Gcp, Self::Azure, Self::DigitalOcean, Self::Hetzner, Self::Oracle, Self::Alibaba];

    /// Its names in the configuration, in the semantic conventions, and among the classic labels.
    pub const fn names(self) -> &'static Names {
        match self {
            Self::Aws => &Names { key: "aws", word: "aws", platform: Some("aws_ec2"), classic: "AWS" },
            Self::Gcp => {
                &Names { key: "gcp", word: "gcp", platform: Some("gcp_compute_engine"), classic: "GCP" }
            }
            Self::Azure => {
                &Names { key: "azure", word: "azure", platform: Some("azure_vm"), classic: "Azure" }
            }
            Self::DigitalOcean => {
                &Names { key: "digitalocean", word: "digitalocean", platform: None, classic: "DigitalOcean" }
            }
            Self::Hetzner => &Names { key: "hetzner", word: "hetzner", platform: None, classic: "Hetzner" },
            Self::Oracle => &Names {
                key: "oracle",
                word: "oracle_cloud",
                platform: Some("oracle_cloud_compute"),
                classic: "Oracle",
            },
            Self::Alibaba => &Names {
                key: "alibaba",
                word: "alibaba_cloud",
                platform: Some("alibaba_cloud_ecs"),
                classic: "Alibaba",
            },
        }
    }
}
