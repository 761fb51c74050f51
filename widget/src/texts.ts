// What the buttons say. One line a language; a site replaces single texts by the property or attribute `texts`.

type Name =
  | "question" | "yes" | "no" | "thanks" | "back" | "later" | "gone" | "taken" | "refused" | "comment" | "correct"
  | "send";

/** Texts of a site's own by their name, and the labels of reasons by their code. */
export type Texts = { [name in Name]?: string } & Record<string, string>;

export const NAMES = "question yes no thanks back later gone taken refused comment correct send".split(" ");

export const LANGUAGES: Record<string, string> = {
  en: "Was this helpful?|Yes|No|Thank you|Taken back|Will be sent later|No longer possible|Already rated|Not accepted|Comment|Correct|Send",
  de: "War das hilfreich?|Ja|Nein|Danke|Zurückgenommen|Wird später gesendet|Nicht mehr möglich|Schon bewertet|Nicht angenommen|Kommentieren|Korrigieren|Senden",
  es: "¿Te ha sido útil?|Sí|No|Gracias|Retirado|Se enviará más tarde|Ya no es posible|Ya valorado|No aceptado|Comentar|Corregir|Enviar",
  fr: "Était-ce utile ?|Oui|Non|Merci|Retiré|Sera envoyé plus tard|N’est plus possible|Déjà évalué|Non accepté|Commenter|Corriger|Envoyer",
  ja: "役立ちましたか?|はい|いいえ|ありがとう|取り消し済み|後で送信|評価できません|評価済み|受付不可|コメント|修正|送信",
  zh: "有帮助吗?|有|没有|谢谢|已撤回|稍后发送|已无法评价|已被评价|未被接受|评论|修改|发送",
};

/** The language that is spoken around an element: of the closest `lang`, else the browser's, else English. */
export function languageOf(element: Element): string {
  let lang: string | null | undefined;
  for (let at: Element | undefined = element; at && !lang; at = (at.getRootNode() as ShadowRoot).host) {
    lang = at.closest("[lang]")?.getAttribute("lang");
  }
  const primary = (lang || navigator.language).slice(0, 2).toLowerCase();
  return LANGUAGES[primary] ? primary : "en";
}

/** The text of that name; a name that isn't ours is a reason's code, and reads as it is. */
export const say = (lang: string, name: string, own: Texts): string =>
  own[name] ?? LANGUAGES[lang]!.split("|")[NAMES.indexOf(name)] ?? name.replace(/[_-]/g, " ");
