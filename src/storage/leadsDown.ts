/** Whether a name leads down into its folder on every platform. Where a link leads is the file system's affair. */
export const leadsDown = (name: string): boolean =>
  !/[\\:\0]/.test(name) && name.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
