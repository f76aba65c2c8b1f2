import { z } from "zod";
import type { BuiltTask, Place } from "./generate.ts";

/** What a row is that an input names; it must be of the project. */
export type RowKind = "shot" | "generation" | "variant" | "shot_generation";

/** A row that a request names, and the field that names it. */
export interface NamedRow {
  field: string;
  kind: RowKind;
  id: string;
}

/** The tasks of one request, and what was resolved for all of them. */
export interface Payloads {
  tasks: BuiltTask[];
  meta: Record<string, unknown>;
}

/** An input that was read. */
export interface FamilyInput {
  /** With what was read of each field, in one spelling: the same for the same request. */
  fields: Record<string, unknown>;
  named: NamedRow[];
  /** Draws new ids, and seeds where none were sent, each time. */
  build(place: Place): Payloads;
}

/** What a client asks for, as opposed to the task types that workers know. */
export interface Family {
  /** One line for docs/generators.md. */
  summary: string;
  input: z.ZodType;
  read(input: unknown): z.ZodSafeParseResult<FamilyInput>;
}

/** A family from its input, the fields of it that name rows, and its builder. */
export function defineFamily<Fields extends object>(definition: {
  summary: string;
  input: z.ZodType<Fields>;
  names: Partial<Record<Extract<keyof Fields, string>, RowKind>>;
  build(input: Fields, place: Place): Payloads;
}): Family {
  const { summary, input, names, build } = definition;
  const reader = input.transform((fields): FamilyInput => ({
    fields: Object.fromEntries(Object.entries(fields)),
    named: namedRows(fields, names),
    build: (place) => build(fields, place),
  }));
  return { summary, input, read: (sent) => reader.safeParse(sent) };
}

/** A field that must be sent, and where it goes in params. */
export function required<Shape extends z.ZodType>(shape: Shape, goesTo: string): Shape {
  return shape.meta({ goesTo });
}

/** A field that need not be sent, what counts then, and where it goes in params. */
export function optional<Shape extends z.ZodType>(
  shape: Shape,
  unless: string,
  goesTo: string,
): z.ZodOptional<z.ZodNullable<Shape>> {
  return shape.nullish().meta({ unless, goesTo });
}

function namedRows<Fields extends object>(
  fields: Fields,
  names: Partial<Record<Extract<keyof Fields, string>, RowKind>>,
): NamedRow[] {
  return (Object.entries(names) as [Extract<keyof Fields, string>, RowKind][]).flatMap(([field, kind]) => {
    const value: unknown = fields[field];
    return (Array.isArray(value) ? value : [value])
      .filter((id): id is string => typeof id === "string")
      .map((id) => ({ field: `input.${field}`, kind, id }));
  });
}
