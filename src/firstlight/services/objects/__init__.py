"""Objects of the sky and what is known of them: photometry, spectra, notes."""
