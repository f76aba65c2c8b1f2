import type { CallArguments } from "./build-sql.ts";
import type { Catalog, Routine } from "./catalog.ts";
import { looksLikeFilter } from "./parse-conditions.ts";
import { RestError, UnknownNameError } from "./rest-error.ts";

/** A body of a call: arguments by their names, or one value for a function that takes it whole. */
export interface CallBody {
  kind: "json" | "text" | "binary";
  text: string;
  /** Keys of a JSON object; undefined where there are none because it is something else. */
  names: string[] | undefined;
}

export interface Chosen {
  routine: Routine;
  given: CallArguments;
}

/** The overload for arguments in a URL, where what reads as a filter may be one. */
export function chooseByUrl(catalog: Catalog, name: string, values: Map<string, string[]>): Chosen {
  const mayFilter = (key: string) => (values.get(key) ?? []).every(looksLikeFilter);
  const routine = chooseByNames(catalog, name, [...values.keys()], mayFilter);
  if (routine) return { routine, given: { kind: "text", values } };
  throw unknownRoutine(name, [...values.keys()], "");
}

/** The overload that takes all the keys of the body; else one whose only argument has no name, and is the body. */
export function chooseByBody(catalog: Catalog, name: string, body: CallBody): Chosen {
  const { kind, names, text } = body;
  const routine = kind === "json" && names ? chooseByNames(catalog, name, names, () => false) : undefined;
  if (routine && names) return { routine, given: { kind: "json", json: text, names } };
  const types = { json: ["json", "jsonb"], text: ["text"], binary: ["bytea"] }[kind];
  const [whole, other] = overloads(catalog, name).filter(
    ({ arguments: [first, second] }) => first?.name === "" && !second && types.includes(first.type),
  );
  if (other) throw ambiguous([whole, other].filter((one) => one !== undefined));
  if (whole) return { routine: whole, given: { kind: "body", text } };
  if (kind !== "json") throw unknownWholeRoutine(name, types[0] ?? "");
  if (!names) throw new RestError(400, "PGRST102", "Arguments must be a JSON object");
  throw unknownRoutine(name, names, " or with a single unnamed json/jsonb parameter");
}

function chooseByNames(
  catalog: Catalog,
  name: string,
  names: string[],
  mayFilter: (key: string) => boolean,
): Routine | undefined {
  const used = (routine: Routine) => routine.arguments.filter((one) => names.includes(one.name)).length;
  const fitting = overloads(catalog, name).filter(
    ({ arguments: takes }) =>
      takes.every((one) => one.name !== "" && (!one.required || names.includes(one.name))) &&
      names.every((key) => takes.some((one) => one.name === key) || mayFilter(key)),
  );
  const most = Math.max(...fitting.map(used));
  const best = fitting.filter((routine) => used(routine) === most);
  if (best.length > 1) throw ambiguous(best);
  return best[0];
}

function overloads(catalog: Catalog, name: string): Routine[] {
  return catalog.routines.get(name) ?? [];
}

function ambiguous(routines: Routine[]): RestError {
  const shown = routines.map(
    ({ name, arguments: takes }) =>
      `public.${name}(${takes.map((one) => `${one.name} => ${one.type}`).join(", ")})`,
  );
  return new RestError(
    300,
    "PGRST203",
    `Could not choose the best candidate function between: ${shown.join(", ")}`,
    {
      hint: "Try renaming the parameters or the function itself in the database so function overloading can be resolved",
    },
  );
}

function unknownRoutine(name: string, names: string[], alternative: string): RestError {
  const called =
    names.length > 0 ? `public.${name}(${names.join(", ")})` : `public.${name} without parameters`;
  const searched =
    names.length > 0
      ? `public.${name} with parameter${names.length > 1 ? "s" : ""} ${names.join(", ")}`
      : `public.${name} without parameters`;
  return new UnknownNameError(404, "PGRST202", `Could not find the function ${called} in the schema cache`, {
    details: `Searched for the function ${searched}${alternative}, but no matches were found in the schema cache.`,
  });
}

function unknownWholeRoutine(name: string, type: string): RestError {
  const message = `Could not find the function public.${name} in the schema cache`;
  return new UnknownNameError(404, "PGRST202", message, {
    details:
      `Searched for the function public.${name} with a single unnamed ${type} parameter, ` +
      "but no matches were found in the schema cache.",
  });
}
