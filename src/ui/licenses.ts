import type { ModelLicense } from '../index.js'
import { fitted } from './fit.js'
import { printable } from './text.js'

/** Models with their licenses, in lines of at most `width` columns. */
export const licensesText = (models: readonly ModelLicense[], width: number): string =>
  fitted(
    [{ title: 'model' }, { title: 'license' }, { title: 'file' }, { title: 'reference' }],
    models.map(({ model, reference, terms, license }) => [
      printable(model),
      printable(terms),
      printable(license?.file?.name ?? ''),
      printable(reference),
    ]),
    width,
  )
