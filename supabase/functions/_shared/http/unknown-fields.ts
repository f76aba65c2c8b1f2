import { distance } from "fastest-levenshtein";

/** The part of JSON Schema that says which fields an object may have. */
export interface ObjectSchema {
  properties?: Record<string, ObjectSchema>;
  additionalProperties?: unknown;
  items?: ObjectSchema;
  anyOf?: ObjectSchema[];
  oneOf?: ObjectSchema[];
  allOf?: ObjectSchema[];
}

export interface UnknownField {
  /** Its place in the body, such as `scope` or `events.0.nme`. */
  field: string;
  /** The known field that is probably meant. */
  did_you_mean?: string;
}

/** The schema with every object closed: fields that it does not list are not allowed. Records stay open. */
export function closed<Schema extends ObjectSchema>(schema: Schema): Schema {
  const { properties, items } = schema;
  const isClosed = properties !== undefined && schema.additionalProperties === undefined;
  const lists = Object.fromEntries(
    (["anyOf", "oneOf", "allOf"] as const).flatMap((name) => {
      const list = schema[name];
      return list ? [[name, list.map(closed)]] : [];
    }),
  );
  return {
    ...schema,
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, inner]) => [name, closed(inner)]),
      ),
    }),
    ...(isClosed && { additionalProperties: false }),
    ...(items && { items: closed(items) }),
    ...lists,
  };
}

/** The names of the fields that a schema lists, in any of its forms; undefined where it takes any field. */
export function listedFields(schema: ObjectSchema): ReadonlySet<string> | undefined {
  const forms = schema.anyOf ?? schema.oneOf;
  if (!forms) return schema.properties && new Set(Object.keys(schema.properties));
  const lists = forms.map(listedFields);
  return lists.includes(undefined) ? undefined : new Set(lists.flatMap((list) => [...(list ?? [])]));
}

/** The fields of a body that a closed schema does not list, in the order in which they were sent. */
export function unknownFields(
  schema: ObjectSchema,
  value: unknown,
  path: readonly string[] = [],
): UnknownField[] {
  const forms = schema.anyOf ?? schema.oneOf;
  if (forms) {
    // Of the forms for such a value, the one that fits best is the one that was meant.
    const kind = Array.isArray(value) ? "items" : "properties";
    const [best = []] = forms
      .filter((form) => kind in form || "anyOf" in form || "oneOf" in form)
      .map((form) => unknownFields(form, value, path))
      .sort((one, other) => one.length - other.length);
    return best;
  }
  if (Array.isArray(value)) {
    const { items } = schema;
    return items ? value.flatMap((item, index) => unknownFields(items, item, [...path, String(index)])) : [];
  }
  if (typeof value !== "object" || value === null || !schema.properties) return [];
  const { properties } = schema;
  const known = Object.keys(properties);
  return Object.entries(value).flatMap(([name, inner]) => {
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (property) return unknownFields(property, inner, [...path, name]);
    if (schema.additionalProperties !== false) return [];
    const closest = closestName(name, known);
    return [{ field: [...path, name].join("."), ...(closest !== undefined && { did_you_mean: closest }) }];
  });
}

/** The known name that a misspelt one probably stands for; undefined when none is near. */
export function closestName(misspelt: string, known: readonly string[]): string | undefined {
  const sent = misspelt.slice(0, 100);
  const [best] = known
    .map((name) => ({
      name,
      letters: distanceBetween(letters(sent), letters(name)),
      // Of names with the same letters, the one that is written alike.
      spelling: distanceBetween(lower(sent), lower(name)),
    }))
    .sort((one, other) => one.letters - other.letters || one.spelling - other.spelling);
  return best && best.letters <= 0.4 ? best.name : undefined;
}

/** 0 for the same text, 1 for texts without a common letter. */
function distanceBetween(one: string, other: string): number {
  return distance(one, other) / Math.max(one.length, other.length, 1);
}

function lower(name: string): string {
  return name.toLowerCase().replaceAll("-", "_");
}

function letters(name: string): string {
  return lower(name).replace(/[^a-z0-9]/g, "");
}
