# SPDX-License-Identifier: Apache-2.0
"""The strings of the tokenizer and prompt-cleaning cases: many scripts, entities, emoji, controls, whitespace."""

import random
import unicodedata

SENTENCES = [
    "A cat walks slowly across a sunlit wooden floor, then turns to look at the camera.",
    "Close-up of a woman's hands kneading bread dough; flour drifts through the morning light.",
    "An aerial drone shot follows a red train winding between snow-covered mountains at dusk.",
    "Two astronauts in full suits dance on the moon while the Earth rises behind them, 4K, highly detailed.",
    "The chef's knife flashes: carrots, onions, garlic -- all chopped in seconds!",
    "Waves crash against black volcanic rocks. Slow motion, 120 fps, shallow depth of field.",
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量",
    "一只橘色的猫坐在窗台上，看着外面的雨。镜头慢慢推近，光线柔和。",
    "繁體中文測試：龍騰虎躍，「你好」，『世界』、完了。",
    "桜の花びらが風に舞い、着物を着た女性が橋を渡る。カメラはゆっくりとパンする。",
    "ｶﾀｶﾅ半角とＡＢＣ全角１２３、「かぎ括弧」・中黒。",
    "서울의 밤거리를 걷는 사람들, 네온사인이 비에 젖은 도로에 반사된다.",
    "Девушка в красном платье бежит по пшеничному полю на закате; ветер развевает её волосы.",
    "Київ, весна: цвітуть каштани, їжачок іде ґанком.",
    "Ένας γέρος ψαράς τραβάει τα δίχτυα του την αυγή· η θάλασσα είναι ήρεμη.",
    "قطة صغيرة تلعب بكرة من الصوف على السجادة، والضوء يتسلل من النافذة.",
    "پرنده‌ای سرخ بر شاخهٔ درخت می‌خواند.",
    "חתול שחור קופץ מעל גדר לבנה בלילה.",
    "एक बाघ जंगल में धीरे-धीरे चल रहा है, सुबह की धूप पेड़ों से छनकर आ रही है।",
    "একটি ছোট নৌকা নদীর উপর ভেসে যাচ্ছে।",
    "ஒரு யானை ஆற்றில் குளிக்கிறது, குழந்தைகள் சிரிக்கிறார்கள்.",
    "తెల్లని గుర్రం సముద్ర తీరంలో పరుగెత్తుతోంది.",
    "แมวสีส้มนอนหลับอยู่บนโซฟา แสงแดดส่องผ่านหน้าต่าง",
    "Một con mèo đang ngồi trên bậu cửa sổ, nhìn mưa rơi ngoài phố cổ Hà Nội.",
    "Ein alter Mann füttert Tauben auf dem Marktplatz; Straßenmusik erklingt, übermütige Kinder lachen.",
    "Une fillette souffle des bulles de savon près du château; l'été s'achève où naît la forêt, cœur léger.",
    "El niño corrió detrás de la cometa, ¿quién la atrapará? ¡Qué día tan luminoso!",
    "O pôr do sol sobre o Rio de Janeiro, com o Pão de Açúcar ao fundo.",
    "Kırmızı bir balon İstanbul Boğazı'nın üzerinde süzülüyor, ışık yavaşça söner.",
    "Żółta łódź płynie przez mglistą rzekę o świcie.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Egy kislány fűzfa alatt ül, ősz van, szél fúj.",
    "Þetta er ævintýri um álfa í hrauninu.",
    "Հին վանքը լեռան վրա, մայրամուտի լույսով։",
    "ქართული ანბანი ლამაზია, მზე ჩადის.",
    "ድመት በመስኮት ላይ ተቀምጣለች።",
    "ពន្លឺព្រះអាទិត្យរះលើប្រាសាទអង្គរវត្ត",
    "ཁྱི་ཆུང་ཞིག་རྒྱུག་བཞིན་འདུག",
    "👩‍🚀 floats past 🌍🌎🌏, 🚀✨ then waves 👋🏽",
    "A family 👨‍👩‍👧‍👦 at the beach 🏖️ with a flag 🇫🇷 and a 1️⃣st prize 🏆",
    "∑ f(x)·dx ≈ ∫₀¹ x² dx = ⅓, 10⁻³ m², 25 °C, ½ cup, № 5, ™ © ®",
    "<b>Bold</b> caption with a <a href=\"x.html\">link</a> & more",
    "file_name-v2.1(final).mp4 #hashtag @user https://example.com/a?b=c&d=e%20f",
    "$1,234.56 €99 £5 ¥1000 ₹250 ₿0.01",
    "ALL CAPS TITLE: THE QUICK BROWN FOX; lower; MiXeD cAsE iPhone",
    "ﬁne ﬂowers in the oﬃce — “quoted” ‘text’… and an en–dash",
    "\u202bright-to-left mark\u202c and \u200bzero\u200bwidth\u200b spaces\ufeff",
    "é e\u0301 Å A\u030a ﬀ ẛ̣ Ω Ω K K",
    "naïve café résumé coöperate",
    "αβγ АБВ ابج אבג กขฃ 甲乙丙 あいう アイウ 가나다",
]

ENTITIES = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&apos;", "&nbsp;", "&eacute;", "&Eacute;", "&hellip;",
            "&mdash;", "&copy;", "&euro;", "&#8364;", "&#x20AC;", "&#X20ac;", "&amp;amp;", "&amp;lt;", "&amp;amp;amp;",
            "&notanentity;", "&#0;", "&#128;", "&#xD800;", "&#1114112;", "&amp", "&eacute", "&#233", "&#xe9", "&ampx",
            "&notit;", "&CounterClockwiseContourIntegral;", "&frac12;", "&zwj;", "&NewLine;", "&Tab;", "&shy;", "&#160;",
            "&#10;", "&;", "&#;", "&#x;", "&rarr;", "&hearts;", "&NotEqualTilde;", "&ngE;", "&sup2;", "&Aacute;&aacute;"]

SPACES = [" ", "  ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u2003", "\u3000", "\u2028", "\u2029", "\u0085", "\u000b",
          "\u000c", "\u001c", "\u205f", "\u1680", "\u200b", "\ufeff", "   \t \n "]

CONTROLS = ["\x00", "\x01", "\x07", "\x08", "\x0e", "\x1a", "\x1b", "\x1b[31m", "\x1b[0m", "\x7f", "\x80", "\x81",
            "\x92", "\x93", "\x94", "\x9f", "\u200e", "\u202a", "\u2066", "\ufff9", "\ufffc", "\ufffd", "\ufffe",
            "\U000e0001", "\ue000", "\U0001fffe"]

EDGE = [
    "", " ", "  ", "\n", "\t\t", "\u3000", "\u00a0", "a", "A", ".", "▁", "▁▁", " a", "a ", "  a  b  ", "a\tb", "a\nb",
    "\u200b", "\ufeff", "\x00", "0", "é", "e\u0301", "猫", "😀", "<unk>", "<pad>", "</s>", "<s>", "a</s>b",
    "<extra_id_0>", "text <extra_id_1> text", "<0x41>", "x<0x0A>y", "<0xE2><0x96><0x81>",
]

# Text that was decoded with the wrong codec at some time.
MOJIBAKE = [
    "schÃ¶n", "L&Atilde;&copy;gende", "cafÃ©", "â€œquotedâ€\x9d", "itâ€™s", "ÐŸÑ€Ð¸Ð²ÐµÑ‚", "ã\x81\x82ã\x81„",
    "Ã¡Ã©Ã­Ã³Ãº", "â€¦", "naÃ¯ve", "Â£100", "100Â°C", "æ—¥æœ¬èªž", "caf\xc3\xa9",
]

# Text that looks like mojibake and is not, or nearly: must stay.
NOT_MOJIBAKE = ["Ã", "Ã€", "â€", "São Paulo", "IL Y MARQUÉ…", "àéîõü", "¡Hola!", "RÉSUMÉ", "«Ÿ»", "PARCE QUE SUR LEURS PLAQUES IL Y MARQUÉ…"]

TYPOGRAPHY = [
    "“double” ‘single’ „low“ ‚low‘ «guillemets» ‹single› ‟x‛", "ﬀ ﬁ ﬂ ﬃ ﬄ ﬅ ﬆ", "Ǆ ǅ ǆ Ĳ ĳ ŉ", "ｆｕｌｌ ｗｉｄｔｈ！？，．：；（）［］｛｝＠＃",
    "￠￡￢￣￤￥￦", "ｶﾞｷﾞｸﾞ ﾊﾟﾋﾟ", "dash – — ― ‒ - ‑", "… ‥ ․", "line\u2028sep\u2029para\u0085next", "tab\there", "cr\rlf\r\nend",
    "\x1b[1;31mred\x1b[0m and \x1b[2Kcleared", "soft\u00adhyphen", "zero\u200bwidth\u200cjoin\u200der\u2060word\ufeff",
    "bidi \u202aabc\u202c \u2066x\u2069", "&lt;b&gt;not a tag&lt;/b&gt;", "a &lt; b <i>c</i>", "5 &lt; 6 &amp;&amp; 7 &gt; 2",
    "l\u2019\u00e9t\u00e9", "rock \u02bcn\u02bc roll", "5\u2032 10\u2033", "O\u02bbahu", "\u1ea5 a\u0302\u0301 \u1ef1",
    "\u1112\u1161\u11ab\u1100\u1173\u11af", "\u0915\u093c \u0958", "\u212b \u2126 \u212a", "\ufb1d \ufb2a", "\u0344 \u0958",
    "x\u0301\u0323 x\u0323\u0301", "\ud55c\uae00", "\U0001d400\U0001d4d0 math", "①②③ ㈱ ㌔ ℡", "２０２４年１２月３１日", "\ufe0f\u20e3 1\ufe0f\u20e3",
]


def mixed(rng):
    parts = []
    for _ in range(rng.randint(1, 5)):
        words = rng.choice(SENTENCES).split(" ")
        start = rng.randrange(len(words))
        parts.append(" ".join(words[start:start + rng.randint(1, 6)]))
        kind = rng.random()
        if kind < 0.25:
            parts.append(rng.choice(ENTITIES))
        elif kind < 0.45:
            parts.append(rng.choice(SPACES) * rng.randint(1, 3))
        elif kind < 0.55:
            parts.append(rng.choice(CONTROLS))
        elif kind < 0.65:
            parts.append(rng.choice(EDGE))
        elif kind < 0.7:
            parts.append(chr(rng.choice([rng.randrange(0x21, 0x2ff), rng.randrange(0x370, 0x2fff),
                                         rng.randrange(0x3041, 0xd7a3), rng.randrange(0x1f300, 0x1faff)])))
    return rng.choice(["", " "]).join(parts)


def long_text(rng, words):
    pool = " ".join(SENTENCES).split(" ")
    return " ".join(rng.choice(pool) for _ in range(words))


def build(seed, count=500):
    """`count` different strings, the same for the same seed."""
    rng = random.Random(seed)
    out = EDGE + SENTENCES + MOJIBAKE + NOT_MOJIBAKE + TYPOGRAPHY
    out += [f"word {e} word" for e in ENTITIES] + ENTITIES[:12]
    out += [f"a{s}b" for s in SPACES] + [f"a{c}b" for c in CONTROLS]
    out += [unicodedata.normalize("NFD", s) for s in SENTENCES if unicodedata.normalize("NFD", s) != s]
    out += [long_text(rng, n) for n in (60, 150, 200, 300, 600)]
    out += ["la " * 505, "la " * 511, "la " * 512, "la " * 600, "猫" * 600, "x" * 700, "😀" * 80]
    seen, unique = set(), []
    for s in out:
        if s not in seen:
            seen.add(s)
            unique.append(s)
    while len(unique) < count:
        s = mixed(rng)
        if s not in seen:
            seen.add(s)
            unique.append(s)
    return unique[:count]


def corpus(seed, lines=3000):
    """Training text for the small SentencePiece models: word salad from the sentences, one line each."""
    rng = random.Random(seed)
    pool = [s for s in SENTENCES if "👩" not in s and "👨" not in s]
    out = list(pool)
    while len(out) < lines:
        words = rng.choice(pool).split(" ") + rng.choice(pool[:6]).split(" ")
        rng.shuffle(words)
        out.append(" ".join(words))
    return out
