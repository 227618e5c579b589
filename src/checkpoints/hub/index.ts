/** Models on the Hugging Face hub. What is in its cache is used as it is; the rest is fetched into it. */
export { type DownloadOptions, download } from './download.js'
export { cachedPlace, type Fetch, type HubModel, type HubReference, openHub } from './open.js'
