//! Chinese prompts in English: wording, untouched grammar, broken input, speed.

use danqing_pipelines::prompts::translate::{Glossary, needs_translation, translate};
use danqing_testing::mutate;

#[track_caller]
fn check(chinese: &str, english: &str) {
    let translation = translate(chinese, Glossary::builtin());
    assert_eq!(translation.english, english, "{chinese}");
    assert!(translation.untranslated.is_empty(), "{chinese}: {:?}", translation.untranslated);
}

#[test]
fn counts_colours_and_places() {
    check("两只红色的猫在蓝色背景上", "two red cats on a blue background");
    check("红苹果", "red apple");
    check("一个人", "a person");
    check("三朵黄色的花", "three yellow flowers");
    check("3只小猪在房子前面跳舞", "three piglets dancing in front of a house");
    check("十二只鸟", "twelve birds");
    check("很多星星", "many stars");
    check("一群羊在草原上吃草", "a group of sheep eating grass on a grassland");
    check("一杯咖啡和两块蛋糕在桌子上", "a cup of coffee and two cakes on a table");
    check("一只红色的猫和两只蓝色的狗在绿色的草地上", "a red cat and two blue dogs on a green meadow");
    check("红色的猫在蓝色的狗的左边", "red cat to the left of a blue dog");
    check("左边是红色的猫，右边是蓝色的狗", "on the left red cat, on the right blue dog");
    check("桌子上有一只猫", "a cat on a table");
    check("玻璃瓶里的星星", "star in a glass bottle");
    check("红色的圆形和蓝色的三角形", "red circle and blue triangle");
    check("未来城市", "futuristic city");
    check("兩隻紅色的貓在藍色背景上", "two red cats on a blue background");
}

#[test]
fn what_stands_before_de_follows_the_noun() {
    check("一个穿着红色裙子的女孩", "a girl wearing a red dress");
    check("在月球上骑马的宇航员", "astronaut riding a horse on the moon");
    check("女孩抱着一只坐在椅子上的猫", "girl hugging a cat sitting on a chair");
    check("女孩看着窗外的风景", "girl looking at a landscape outside a window");
    check("坐在公园的长椅上的女孩", "girl sitting on a park bench");
    check("戴着耳机的少女坐在地铁里看手机", "girl wearing a headphone sitting in a subway train using a smartphone");
    check("倒映在湿漉漉的地面上的灯光", "lighting reflected on the wet ground");
    check("一个小男孩和他的狗在雪地里奔跑", "a boy and his dog running in the snow");
    check("女孩的红色长发", "girl's red long hair");
    check("一张猫的照片", "a photo of a cat");
    check("被雪覆盖的山", "mountain covered with snow");
    check("一个二十五岁的女孩", "a 25 year old girl");
    check("五岁男孩", "five year old boy");
    check("用木头做的房子", "house made of wood");
    check("一座漂浮在云上的城堡", "a castle floating on a cloud");
    check("一辆红色的跑车停在雨夜的街道上", "a red sports car parked on a rainy night street");
    check("画一只可爱的小猫在草地上玩耍", "a cute kitten playing on a meadow");
}

#[test]
fn grammar_stays_and_signs_become_half_width() {
    check("(红色的:1.3)猫，[蓝天:夜空:0.5]", "(red:1.3) cat, [blue sky:the night sky:0.5]");
    check("（红色：1.2）猫 BREAK 白狗", "(red:1.2) cat BREAK white dog");
    check("黑猫 AND 白狗:0.5", "black cat AND white dog:0.5");
    check("[猫|狗]在雪地里", "[cat|dog] in the snow");
    check("<lora:水墨:0.8>，一条龙", "<lora:水墨:0.8>, a dragon");
    check("embedding:坏手, 猫", "embedding:坏手, cat");
    check("masterpiece, 杰作,8K, \\(猫\\)", "masterpiece, masterpiece,8K, \\(cat\\)");
    check("a cat，no Chinese", "a cat，no Chinese");
    assert!(!needs_translation("a cat，no Chinese") && needs_translation("一"));
}

#[test]
fn what_is_not_known_is_named_and_left_out() {
    let translation = translate("小女孩在雨中撑着伞，魑魅魍魉，猫，饕餮", Glossary::builtin());
    assert_eq!(translation.english, "girl holding an umbrella in the rain, cat");
    assert_eq!(translation.untranslated, ["魑魅魍魉", "饕餮"]);
    assert!(translation.replaced.contains(&("撑着伞".to_owned(), "holding an umbrella".to_owned())));
}

#[test]
fn a_glossary_of_one_s_own_is_read_or_refused_by_line() {
    let own = Glossary::parse("# remark\n饕餮\ttaotie\tb\n").unwrap();
    assert_eq!(translate("饕餮", &own).english, "taotie");
    assert_eq!(Glossary::parse("猫\tcat\n").unwrap_err().line, 1);
    assert_eq!(Glossary::parse("猫\tcat\tb\n狗\tdog\t?\n").unwrap_err().line, 2);
    assert!(Glossary::builtin().len() > 5000, "{}", Glossary::builtin().len());
}

const SENTENCES: [&str; 6] = [
    "一位戴着帽子的老人在湖边钓鱼，(夕阳:1.2)，[春天:秋天:0.5]，水墨画，最佳质量",
    "女孩抱着一只坐在椅子上的猫，用木头做的房子，被雪覆盖的山，一张猫和狗的照片",
    "<lora:水墨:0.8>三百二十五只鸟在天空中飞翔 AND 二三个人的的的在在上上",
    "兩隻紅色的貓在藍色背景上 masterpiece, 8k 3D渲染 Q版",
    "桌子上有一杯咖啡和两块蛋糕，左边是红色的猫，猫猫狗狗，魑魅魍魉",
    "的在上被和一只很没有不是画张幅",
];

#[test]
fn broken_text_never_panics() {
    let words = [
        "的",
        "在",
        "上",
        "被",
        "和",
        "一只",
        "很",
        "张照片",
        "有",
        "，",
        "（",
        "：",
        "红色",
        "猫",
        "穿",
        "用",
        "3",
        "<",
        "\u{200d}",
    ];
    let tokens: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    mutate::run_with_tokens(&SENTENCES, &tokens, 12, mutate::count(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let translation = translate(&text, Glossary::builtin());
        assert!(translation.english.len() <= 40 * text.len() + 40, "{text:?} grew to {:?}", translation.english);
    });
}

#[test]
fn a_prompt_takes_far_less_than_five_milliseconds() {
    let prompt = SENTENCES.join("，");
    assert!(translate(&prompt, Glossary::builtin()).english.contains("two red cats"));
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        assert!(!translate(&prompt, Glossary::builtin()).replaced.is_empty());
    }
    assert!(begun.elapsed().as_millis() < 500, "{:?} for 100 prompts", begun.elapsed());
    for unit in ["的", "猫的", "在桌子上", "一只", "画的照片", "魑，", "红的", "<猫:", "二三", "a猫"]
    {
        let begun = std::time::Instant::now();
        let text = unit.repeat((32 << 10) / unit.len());
        assert!(translate(&text, Glossary::builtin()).english.len() <= 40 * text.len());
        assert!(begun.elapsed().as_secs() < 2, "{unit:?} took {:?}", begun.elapsed());
    }
}
