from __future__ import annotations

import numpy as np

from firstlight.pipeline.catalogue_stars import SolvedFrame, catalogue_stars

SHAPE = (200, 300)
RA, DEC = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 1.0, 1.0])
PLACES = np.array([[50.0, 60.0], [150.0, 60.0], [5.0, 100.0], [400.0, 100.0]])


def frame(x, y, shift: float = 0.0) -> SolvedFrame:
    """A frame whose solution puts the four stars where `PLACES` says, moved along x."""

    def sky_to_pixel(ra, dec):
        at = PLACES[(ra - 1).astype(int)]
        return at[:, 0] + shift, at[:, 1]

    return SolvedFrame(SHAPE, 10.0, sky_to_pixel, np.array(x, float), np.array(y, float))


def match(frames, **changed):
    return catalogue_stars(
        frames, RA, DEC, **{"radius": 25.0, "edge": 10.0, "coverage": 0.8} | changed
    )


def test_the_closest_source_wins_and_the_other_is_told():
    found = match([frame([51.5, 50.5, 150.0], [60.0, 60.0, 61.0])])
    assert found.rows.tolist() == [0, 1]
    assert found.source.tolist() == [[1], [2]]
    assert found.duplicate.tolist() == [1, 0]


def test_three_sources_of_one_star_are_one_frame_with_several():
    found = match([frame([51.5, 50.5, 49.0], [60.0, 60.0, 60.0])])
    assert found.source.tolist() == [[1]]
    assert found.duplicate.tolist() == [1]


def test_sources_farther_than_the_radius_or_near_the_edge_are_not_matched():
    far, edge = frame([52.6], [60.0]), frame([5.0], [100.0])
    assert match([far]).rows.tolist() == []
    assert match([far], radius=27.0).rows.tolist() == [0]
    assert match([edge]).rows.tolist() == []
    assert match([edge], edge=4.0).rows.tolist() == [2]


def test_places_are_those_of_the_solution_in_every_frame_it_is_on():
    frames = [frame([50.3], [60.2]), frame([], []), frame([], [], shift=260.0)]
    found = match(frames, coverage=0.3)
    assert found.rows.tolist() == [0]
    assert found.x[0, :2].tolist() == [50.0, 50.0]
    assert np.isnan(found.x[0, 2])
    assert found.source.tolist() == [[0, -1, -1]]


def test_stars_found_too_seldom_are_left_out():
    frames = [frame([50.0, 150.0], [60.0, 60.0])] + [frame([50.0], [60.0])] * 4
    assert match(frames).rows.tolist() == [0]
    assert match(frames, coverage=0.2).rows.tolist() == [0, 1]


def test_no_frames_and_no_stars_are_nobody():
    assert match([]).rows.tolist() == []
    empty = catalogue_stars(
        [frame([1.0], [1.0])], RA[:0], DEC[:0], radius=1.0, edge=0.0, coverage=0.5
    )
    assert empty.x.shape == (0, 1)
