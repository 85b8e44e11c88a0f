/** In the environment of the engine: what functions that it calls by HTTP are signed with. */
export const SECRET = { name: 'TRINE_COMPAT_SECRET', value: 'between us' } as const;
