import { withLimits } from "./limits.ts";
import { type FieldShape, inputShape, objectShape, type ObjectShape, type TypeShape } from "./shapes.ts";

/** One entry of the `detail` of FAL's 422. */
export interface FalIssue {
  loc: (string | number)[];
  msg: string;
  type: string;
  input: unknown;
  url: string;
  ctx?: Record<string, unknown>;
}

type At = readonly (string | number)[];

/** Numbers that FAL takes as whole ones; the client's types do not tell them from others. */
const wholeNumbers = /^(seed|num_.*|.*steps|width|height|frames_per_second|frame_interval|max_frames)$/;

/**
 * What FAL refuses of an endpoint's input: unknown fields, missing ones, other types, values that are not listed, numbers outside
 * of the ranges that the types state.
 */
export function issuesOf(endpoint: string, input: unknown): FalIssue[] {
  const shape = inputShape(endpoint);
  if (!shape) throw new Error(`The fake FAL does not know ${endpoint}`);
  const limited = Object.entries(shape).map(
    ([name, field]) => [name, withLimits(endpoint, name, field)] as const,
  );
  return issuesOfObject(Object.fromEntries(limited), input, ["body"]);
}

export function falIssue(
  loc: At,
  type: string,
  msg: string,
  input: unknown,
  ctx?: FalIssue["ctx"],
): FalIssue {
  return {
    loc: [...loc],
    msg,
    type,
    input,
    url: `https://docs.fal.ai/errors#${type}`,
    ...(ctx && { ctx }),
  };
}

function issuesOfObject(shape: ObjectShape, value: unknown, at: At): FalIssue[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [falIssue(at, "model_attributes_type", "Input should be a valid dictionary", value)];
  }
  const given = value as Record<string, unknown>;
  const missing = Object.entries(shape)
    .filter(([name, { required }]) => required && given[name] === undefined)
    .map(([name]) => falIssue([...at, name], "missing", "Field required", value));
  const wrong = Object.entries(given).flatMap(([name, item]) => {
    const field = Object.hasOwn(shape, name) ? shape[name] : undefined;
    if (!field) {
      return [falIssue([...at, name], "extra_forbidden", "Extra inputs are not permitted", item)];
    }
    // FAL reads null like a field that is not sent, where the field has a default.
    if (item === null && !field.required) return [];
    return issuesOfField(name, field, item, [...at, name]);
  });
  return [...missing, ...wrong];
}

function issuesOfField(name: string, field: FieldShape, value: unknown, at: At): FalIssue[] {
  const issues = issuesOfType(field.type, value, at);
  if (issues.length > 0) return issues;
  if (typeof value === "number") {
    if (wholeNumbers.test(name) && !Number.isInteger(value))
      return [falIssue(at, "int_from_float", "Input should be a valid integer", value)];
    return outsideOf(field, value, at);
  }
  if (typeof value === "string" && field.maxLength !== undefined && value.length > field.maxLength) {
    const message = `String should have at most ${field.maxLength} characters`;
    return [falIssue(at, "string_too_long", message, value, { max_length: field.maxLength })];
  }
  if (Array.isArray(value) && field.maxItems !== undefined && value.length > field.maxItems) {
    const message = `List should have at most ${field.maxItems} items after validation, not ${value.length}`;
    return [falIssue(at, "too_long", message, value, { max_length: field.maxItems })];
  }
  // The range of a size holds for each side.
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([side, length]) =>
      typeof length === "number" ? outsideOf(field, length, [...at, side]) : [],
    );
  }
  return [];
}

function outsideOf({ min, max }: FieldShape, value: number, at: At): FalIssue[] {
  if (min !== undefined && value < min) {
    const message = `Input should be greater than or equal to ${min}`;
    return [falIssue(at, "greater_than_equal", message, value, { ge: min })];
  }
  if (max !== undefined && value > max) {
    const message = `Input should be less than or equal to ${max}`;
    return [falIssue(at, "less_than_equal", message, value, { le: max })];
  }
  return [];
}

function issuesOfType(type: TypeShape, value: unknown, at: At): FalIssue[] {
  switch (type) {
    case "unknown":
      return [];
    case "string":
      return typeof value === "string"
        ? []
        : [falIssue(at, "string_type", "Input should be a valid string", value)];
    case "file":
      return typeof value === "string" && value !== ""
        ? []
        : [falIssue(at, "url_type", "Input should be a valid URL", value)];
    case "number":
      return typeof value === "number" && Number.isFinite(value)
        ? []
        : [falIssue(at, "float_type", "Input should be a valid number", value)];
    case "boolean":
      return typeof value === "boolean"
        ? []
        : [falIssue(at, "bool_type", "Input should be a valid boolean", value)];
  }
  if ("enum" in type) {
    if (type.enum.includes(value as string)) return [];
    const expected = type.enum.map((one) => `'${one}'`).join(", ");
    return [falIssue(at, "literal_error", `Input should be ${expected}`, value, { expected })];
  }
  if ("list" in type) {
    if (!Array.isArray(value)) return [falIssue(at, "list_type", "Input should be a valid list", value)];
    return value.flatMap((item: unknown, index) => issuesOfType(type.list, item, [...at, index]));
  }
  if ("record" in type) {
    if (typeof value !== "object" || value === null)
      return [falIssue(at, "dict_type", "Input should be a valid dictionary", value)];
    return Object.entries(value).flatMap(([name, item]) => issuesOfType(type.record, item, [...at, name]));
  }
  if ("object" in type) return issuesOfObject(objectShape(type.object), value, at);
  const each = type.anyOf.map((one) => issuesOfType(one, value, at));
  if (each.some((issues) => issues.length === 0)) return [];
  // As pydantic does: an object is held against the objects, anything else against the last of the others.
  const isObject = typeof value === "object" && value !== null;
  const index = type.anyOf.findIndex((one) => (typeof one === "object" && "object" in one) === isObject);
  return each[Math.max(0, index)] ?? [];
}
