/** What Stripe's form encoding says: texts, in objects and lists. */
export type FormValue = string | FormValue[] | { [name: string]: FormValue };
export type Form = { [name: string]: FormValue };

/** `a[b][0][c]=x` as `{a: {b: [{c: "x"}]}}`, the way Stripe reads bodies and queries. */
export function parseForm(text: string): Form {
  const form: Form = {};
  for (const [key, value] of new URLSearchParams(text)) {
    const path = [...key.matchAll(/[^[\]]+|\[\]/g)].map(([part]) => part);
    let inside = form;
    path.forEach((part, at) => {
      const name = part === "[]" ? String(Object.keys(inside).length) : part;
      if (at === path.length - 1) inside[name] = value;
      else inside = (inside[name] ??= {}) as Form;
    });
  }
  return listsOf(form) as Form;
}

function listsOf(value: FormValue): FormValue {
  if (typeof value === "string") return value;
  const entries = Object.entries(value);
  const isList = entries.length > 0 && entries.every(([name], at) => name === String(at));
  if (isList) return entries.map(([, item]) => listsOf(item));
  return Object.fromEntries(entries.map(([name, item]) => [name, listsOf(item)]));
}

export function textOf(value: FormValue | undefined): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

export function formOf(value: FormValue | undefined): Form {
  return typeof value === "object" && !Array.isArray(value) ? value : {};
}

export function listOf(value: FormValue | undefined): FormValue[] {
  return Array.isArray(value) ? value : [];
}

/** Metadata: texts by name. */
export function textsOf(value: FormValue | undefined): Record<string, string> {
  const texts = Object.entries(formOf(value)).map(([name, item]) => [name, textOf(item) ?? ""]);
  return Object.fromEntries(texts) as Record<string, string>;
}
