/** What to do about a file that is not what PyTorch writes. */
export const DAMAGED =
  'the file is damaged or was not written completely: fetch it again, or save it again with torch.save'
export const HARMFUL = 'no real model needs that: the file is damaged or made to do harm'
