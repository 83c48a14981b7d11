"""`isoflop study`: what a paper claims, run at laptop scale and asked; sweep file and page of each."""
