/** Ids and descriptions that a hook may replace. */
const TEXTS = ['function_id', 'trigger_id', 'trigger_type', 'trigger_type_id', 'description'] as const;

/** What a hook wants changed. Absent and null mean "as it is". */
export class HookChange {
  static readonly none = new HookChange({});
  readonly #answer: Readonly<Record<string, unknown>>;
  /** An answer that cannot be followed is a refusal. */
  readonly fault: string | undefined;

  constructor(answer: Readonly<Record<string, unknown>>) {
    this.#answer = answer;
    const wrong = TEXTS.find(
      (key) => this.any(key) !== undefined && (typeof answer[key] !== 'string' || answer[key] === ''),
    );
    this.fault = wrong === undefined ? undefined : `the hook's ${wrong} is no text`;
  }

  any(key: string): unknown {
    return Object.hasOwn(this.#answer, key) ? (this.#answer[key] ?? undefined) : undefined;
  }

  text(key: (typeof TEXTS)[number]): string | undefined {
    return this.any(key) as string | undefined;
  }
}
