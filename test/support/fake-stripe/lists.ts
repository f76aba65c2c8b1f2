import type { StripeBooks } from "./books.ts";
import { type Form, type FormValue, formOf, listOf, textOf } from "./form.ts";
import { invalid, missing } from "./refusal.ts";

type Listed = { id: string; created: number };

/** One page of a list, newest first: `limit`, `starting_after`, `ending_before`, `created` and fields by equality. */
export function listPage(url: string, all: Listed[], form: Form, filters: readonly string[]): object {
  const limit = Number(textOf(form["limit"]) ?? 10);
  if (!(limit >= 1 && limit <= 100)) {
    throw invalid("This value must be between 1 and 100.", {
      code: "parameter_invalid_integer",
      param: "limit",
    });
  }
  const found = all.filter(
    (item) =>
      isWithin(item.created, form["created"]) &&
      filters.every((name) => form[name] === undefined || fieldOf(item, name) === form[name]),
  );
  const after = textOf(form["starting_after"]);
  const before = textOf(form["ending_before"]);
  if (before !== undefined) {
    const rest = found.slice(0, placeOf(found, before, "ending_before"));
    return { object: "list", data: rest.slice(-limit), has_more: rest.length > limit, url };
  }
  const rest = after === undefined ? found : found.slice(placeOf(found, after, "starting_after") + 1);
  return { object: "list", data: rest.slice(0, limit), has_more: rest.length > limit, url };
}

function placeOf(found: Listed[], id: string, param: string): number {
  const place = found.findIndex((item) => item.id === id);
  if (place === -1) throw missing("object", id, param);
  return place;
}

function fieldOf(item: object, name: string): unknown {
  return (item as Record<string, unknown>)[name];
}

function isWithin(created: number, asked: FormValue | undefined): boolean {
  if (asked === undefined) return true;
  if (typeof asked === "string") return created === Number(asked);
  const { gt, gte, lt, lte } = formOf(asked);
  return (
    (gt === undefined || created > Number(gt)) &&
    (gte === undefined || created >= Number(gte)) &&
    (lt === undefined || created < Number(lt)) &&
    (lte === undefined || created <= Number(lte))
  );
}

/** A copy with the ids that `expand[]` names replaced by their objects. */
export function expanded(answer: object, form: Form, books: StripeBooks): object {
  const copy = structuredClone(answer);
  for (const path of listOf(form["expand"])) expandPath(copy, String(path).split("."), books, String(path));
  return copy;
}

function expandPath(inside: object, [name, ...rest]: string[], books: StripeBooks, path: string): void {
  if (name === undefined) return;
  const holder = inside as Record<string, unknown>;
  if (holder["object"] === "charge" && name === "refunds") {
    const refunds = books.all("refund").filter(({ charge }) => charge === holder["id"]);
    holder[name] = structuredClone({ object: "list", data: refunds, has_more: false, url: "/v1/refunds" });
  }
  const value = holder[name];
  if (value === undefined) {
    throw invalid(`This property cannot be expanded (${name}).`, { param: `expand[0]` });
  }
  if (Array.isArray(value)) {
    for (const item of value) expandPath(item as object, rest, books, path);
    return;
  }
  if (typeof value === "string") {
    const found = books.lookUp(value);
    if (!found) throw invalid(`This property cannot be expanded (${path}).`, { param: "expand[0]" });
    holder[name] = structuredClone(found);
  }
  if (holder[name] !== null) expandPath(holder[name] as object, rest, books, path);
}
