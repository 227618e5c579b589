/** Whether a relative path stays inside its folder on every platform. Does not look at links. */
export const leadsDown = (name: string): boolean =>
  !/[\\:\0]/.test(name) && name.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
