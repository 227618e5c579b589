import { refusedByWindows } from '../core/names/fileNames.js'

/** Whether a relative path stays inside its folder on every platform, and can be a file on this one. Does not look at links. */
export const leadsDown = (name: string, platform = process.platform): boolean =>
  !/[\\:\0]/.test(name) &&
  name.split('/').every((part) => part !== '' && part !== '.' && part !== '..') &&
  (platform !== 'win32' || name.split('/').every((part) => refusedByWindows(part) === undefined))
