/** The terms of models: what they are, and whether they are the same. */
import { addTo } from '../../core/collections/lists.js'
import type { License, LineageModel } from '../types.js'

/** In bytes. Files of licenses have up to 50 KB. */
export const MOST_LICENSE = 2 ** 20

/** How the texts of common licenses begin, and what the hub calls them. The first that fits decides. */
const TEXTS: readonly (readonly [RegExp, string])[] = [
  [/llama 2 community license/i, 'llama2'],
  [/llama 3\.([123]) (community )?license|llama 3\.([123]) community/i, 'llama3.$'],
  [/llama 4 community license/i, 'llama4'],
  [/llama 3 community license/i, 'llama3'],
  [/gemma terms of use/i, 'gemma'],
  [/creativeml open rail\+\+-m/i, 'openrail++'],
  [/creativeml open rail-?m/i, 'creativeml-openrail-m'],
  [/apache license\s+version 2\.0/i, 'apache-2.0'],
  [/gnu affero general public license\s+version 3/i, 'agpl-3.0'],
  [/gnu lesser general public license\s+version 3/i, 'lgpl-3.0'],
  [/gnu general public license\s+version 3/i, 'gpl-3.0'],
  [/gnu general public license\s+version 2/i, 'gpl-2.0'],
  [/mozilla public license,? version 2\.0/i, 'mpl-2.0'],
  [/attribution-noncommercial-noderivatives 4\.0 international/i, 'cc-by-nc-nd-4.0'],
  [/attribution-noncommercial-sharealike 4\.0 international/i, 'cc-by-nc-sa-4.0'],
  [/attribution-noncommercial 4\.0 international/i, 'cc-by-nc-4.0'],
  [/attribution-noderivatives 4\.0 international/i, 'cc-by-nd-4.0'],
  [/attribution-sharealike 4\.0 international/i, 'cc-by-sa-4.0'],
  [/attribution 4\.0 international/i, 'cc-by-4.0'],
  [/cc0 1\.0 universal/i, 'cc0-1.0'],
  [/neither the name of [\s\S]* nor the names of/i, 'bsd-3-clause'],
  [
    /^\s*(the )?mit license|permission is hereby granted, free of charge, to any person obtaining a copy of this/i,
    'mit',
  ],
]

/** Texts that add terms to those of a common license: they are another license, whatever they contain. */
const CHANGED = /modified (mit|apache) license|commons clause/i

/** The hub's word for the text of a license, if it begins like a common one. */
export function licenseOfText(text: string): string | undefined {
  const begin = text.slice(0, 2500).replace(/\s+/g, ' ')
  if (CHANGED.test(begin)) return undefined
  for (const [pattern, id] of TEXTS) {
    const found = pattern.exec(begin)
    if (found) return id.replace('$', found[1] ?? found[3] ?? '')
  }
  return undefined
}

/** A license that the hub has a word for. */
const isWord = (id: string | undefined): id is string => id !== undefined && id !== 'other' && id !== 'unknown'

/** What terms are compared by; undefined if they are not known. */
function termsOf(license: License | undefined): string | undefined {
  const { id, name, link, file } = license ?? {}
  if (isWord(id)) return id
  // Different texts can have one name.
  return name !== undefined && link !== undefined ? `${name}\0${link}` : (name ?? link ?? file?.sha256)
}

/** Terms as text for people. */
export function termsText(license: License | undefined): string {
  const { id, name, link, file } = license ?? {}
  if (isWord(id)) return id
  if (name !== undefined) return link === undefined ? name : `${name} (${link})`
  return link ?? (file ? `see its file ${file.name}` : 'unknown')
}

/** Models by their terms, in the order of models. `unknown`: those whose terms are not known. */
export interface Terms {
  readonly groups: readonly { readonly license: License; readonly models: readonly string[] }[]
  readonly unknown: readonly string[]
}

/** Sorts models by their terms. */
export function groupedTerms(models: Iterable<readonly [name: string, Pick<LineageModel, 'license'>]>): Terms {
  const groups = new Map<string, string[]>()
  const licenses = new Map<string, License>()
  const unknown: string[] = []
  for (const [name, { license }] of models) {
    const terms = termsOf(license)
    if (terms === undefined) unknown.push(name)
    else {
      addTo(groups, terms, name)
      if (!licenses.has(terms)) licenses.set(terms, license!)
    }
  }
  return { groups: [...groups].map(([terms, names]) => ({ license: licenses.get(terms)!, models: names })), unknown }
}

/** The license that all models have; undefined if they differ, or one of them has none. */
export function commonLicense(
  models: Iterable<readonly [name: string, Pick<LineageModel, 'license'>]>,
): License | undefined {
  const { groups, unknown } = groupedTerms(models)
  return groups.length === 1 && unknown.length === 0 ? groups[0]!.license : undefined
}
