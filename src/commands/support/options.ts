/** Removes undefined options: with `exactOptionalPropertyTypes`, absent and undefined are different. */
export const given = <T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never
